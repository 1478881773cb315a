-- How many sessions of the index have not expired. KEYS: the index by expiry, the index by id.
return redis.call('ZCOUNT', KEYS[1], '(' .. text(now), '+inf')
