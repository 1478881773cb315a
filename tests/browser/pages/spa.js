const items = await (await fetch("/api/items")).json();
const list = document.createElement("ul");
for (const item of items) list.append(Object.assign(document.createElement("li"), { textContent: item }));
document.querySelector("#root").append(list);
document.body.dataset.done = "";
