self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const { pathname } = new URL(event.request.url);
  if (pathname === "/sw/asset") event.respondWith(new Response(`from the worker, by ${navigator.userAgent}`));
  if (pathname === "/sw/echo") event.respondWith(fetch("/echo?by=service"));
});
