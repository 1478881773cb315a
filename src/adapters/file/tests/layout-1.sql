-- What burdock 0.1.0 wrote in the first layout, by `sqlite3 .dump`: a session whose cookie was replaced seven times. Its expiry is put off.
PRAGMA application_id = 1650746219;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE session (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    format INTEGER NOT NULL,
    generation TEXT NOT NULL,
    revision INTEGER NOT NULL,
    created INTEGER NOT NULL,
    lastUsed INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    settings TEXT NOT NULL,
    requests INTEGER NOT NULL,
    rendered INTEGER NOT NULL,
    delayed INTEGER NOT NULL,
    rejected INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    bytesIn INTEGER NOT NULL,
    bytesOut INTEGER NOT NULL
) STRICT;
INSERT INTO session VALUES(1,'shop-1',1,'441de3bbc5a548a5b4b32e0db756d4c2',8,1795868775592272,1795868775769918,4102444800000000,'{"ttl":1800,"browser":{},"rateLimit":{},"headers":{},"labels":{}}',8,0,0,0,0,80,0);
CREATE TABLE cookie (
    session INTEGER NOT NULL REFERENCES session (no) ON DELETE CASCADE,
    field TEXT NOT NULL,
    cookie TEXT NOT NULL,
    PRIMARY KEY (session, field)
) STRICT, WITHOUT ROWID;
INSERT INTO cookie VALUES(1,'OFFgVsl3B63vyGOhZUFcVQ','{"name":"n","value":"7","domain":"localhost","hostOnly":true,"path":"/","secure":false,"httpOnly":false,"created":"2026-11-28T12:26:15.598818Z","updated":"2026-11-28T12:26:15.770400Z"}');
CREATE TABLE item (
    session INTEGER NOT NULL REFERENCES session (no) ON DELETE CASCADE,
    origin TEXT NOT NULL,
    field TEXT NOT NULL,
    item TEXT NOT NULL,
    PRIMARY KEY (session, origin, field)
) STRICT, WITHOUT ROWID;
CREATE TABLE mark (
    session INTEGER NOT NULL REFERENCES session (no) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    mark TEXT NOT NULL,
    PRIMARY KEY (session, place)
) STRICT, WITHOUT ROWID;
INSERT INTO mark VALUES(1,1,'341e540d3e84bcfe:659068ea24b4ca53:1');
INSERT INTO mark VALUES(1,2,'341e540d3e84bcfe:27bc09f3c1b0b42e:1');
INSERT INTO mark VALUES(1,3,'341e540d3e84bcfe:8bca6f4a92b72ce6:1');
INSERT INTO mark VALUES(1,4,'341e540d3e84bcfe:638cfa5f84d1d760:1');
INSERT INTO mark VALUES(1,5,'341e540d3e84bcfe:49e49f53507cf89b:1');
INSERT INTO mark VALUES(1,6,'341e540d3e84bcfe:81bf43b2e41626b1:1');
INSERT INTO mark VALUES(1,7,'341e540d3e84bcfe:b8c1b9ca5a6115ec:1');
CREATE TABLE label (
    session INTEGER NOT NULL REFERENCES session (no) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (session, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE limiter (
    session INTEGER PRIMARY KEY REFERENCES session (no) ON DELETE CASCADE,
    state TEXT NOT NULL
) STRICT;
CREATE INDEX session_by_expiry ON session (expires);
CREATE INDEX label_by_value ON label (name, value, id);
COMMIT;
