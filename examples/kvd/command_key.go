package main

import "strconv"

// The commands in this file are about keys, whatever their values.

func del(c *client, args [][]byte) {
	n := int64(0)
	for _, key := range args[1:] {
		if c.server.store.remove(key, c.now) {
			n++
		}
	}
	c.int(n)
}

func exists(c *client, args [][]byte) {
	n := int64(0)
	for _, key := range args[1:] {
		if _, found := c.server.store.deadline(key, c.now); found {
			n++
		}
	}
	c.int(n)
}

// expireIn is EXPIRE and PEXPIRE; unit is their unit in milliseconds. A time that has passed
// deletes the key.
func expireIn(c *client, args [][]byte, unit int64) {
	deadline, ok := deadlineFrom(args[2], unit, false, c.now)
	switch {
	case !ok:
		c.fail("ERR value is not an integer or invalid expire time")
	case deadline <= 0:
		c.bool(c.server.store.remove(args[1], c.now))
	default:
		c.server.timed.Store(true)
		c.bool(c.server.store.setDeadline(args[1], c.now, deadline))
	}
}

func persist(c *client, args [][]byte) {
	deadline, found := c.server.store.deadline(args[1], c.now)
	c.bool(found && deadline != 0 && c.server.store.setDeadline(args[1], c.now, 0))
}

// ttl replies with what is left of a key's time: -1 for a key without a deadline, -2 for none.
func ttl(c *client, key []byte, unit int64) {
	switch deadline, found := c.server.store.deadline(key, c.now); {
	case !found:
		c.int(-2)
	case deadline == 0:
		c.int(-1)
	default:
		c.int((deadline - c.now + unit/2) / unit)
	}
}

// maxCount bounds SCAN's COUNT: a client that wants everything gets it in parts.
const maxCount = 10_000

// scan is SCAN cursor [MATCH pattern] [COUNT n].
func scan(c *client, args [][]byte) {
	cursor, err := strconv.ParseUint(string(args[1]), 10, 64)
	if err != nil {
		c.fail("ERR invalid cursor")
		return
	}
	count := 10
	var pattern []byte
	for i := 2; i < len(args); i += 2 {
		switch {
		case i+1 == len(args):
			c.fail(syntaxError)
			return
		case is(args[i], "match"):
			pattern = args[i+1]
		case is(args[i], "count"):
			count, err = strconv.Atoi(string(args[i+1]))
			if err != nil {
				c.fail(notInteger)
				return
			}
			if count < 1 {
				c.fail(syntaxError)
				return
			}
		default:
			c.fail(syntaxError)
			return
		}
	}
	// The keys' number comes before them in the reply, and is known after them.
	n := 0
	c.keys = c.keys[:0]
	next := c.server.store.scan(cursor, min(count, maxCount), c.now, func(key []byte) {
		if pattern == nil || match(pattern, key) {
			c.keys = appendBulk(c.keys, key)
			n++
		}
	})
	c.array(2)
	c.text(strconv.FormatUint(next, 10))
	c.array(n)
	c.out = append(c.out, c.keys...)
	if cap(c.keys) > keepOut {
		c.keys = nil
	}
}

func dbsize(c *client, _ [][]byte) { c.int(int64(c.server.store.len())) }

func flushall(c *client, args [][]byte) {
	if len(args) > 2 || len(args) == 2 && !is(args[1], "sync") && !is(args[1], "async") {
		c.fail(syntaxError)
		return
	}
	c.server.store.clear()
	c.ok()
}
