package main

import (
	"fmt"
	"strconv"
)

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

// expireIn is EXPIRE and PEXPIRE key time [NX|XX] [GT|LT]; unit is their unit in milliseconds. A
// time that has passed deletes the key.
func expireIn(c *client, args [][]byte, unit int64) {
	deadline, ok := deadlineFrom(args[2], unit, false, c.now)
	if !ok {
		c.fail("ERR value is not an integer or invalid expire time")
		return
	}
	var nx, xx, gt, lt bool
	for _, arg := range args[3:] {
		switch {
		case is(arg, "nx"):
			nx = true
		case is(arg, "xx"):
			xx = true
		case is(arg, "gt"):
			gt = true
		case is(arg, "lt"):
			lt = true
		default:
			c.fail(fmt.Sprintf("ERR Unsupported option %.128s", arg))
			return
		}
	}
	switch {
	case nx && (xx || gt || lt):
		c.fail("ERR NX and XX, GT or LT options at the same time are not compatible")
		return
	case gt && lt:
		c.fail("ERR GT and LT options at the same time are not compatible")
		return
	}
	c.server.timed.Store(true)
	c.bool(c.server.store.setDeadline(args[1], c.now, max(deadline, 1), func(old int64) bool {
		// For GT and LT a key without a deadline has one that never comes.
		never := old == 0
		return !(nx && !never || xx && never || gt && (never || deadline <= old) || lt && !never && deadline >= old)
	}))
}

func persist(c *client, args [][]byte) {
	c.bool(c.server.store.setDeadline(args[1], c.now, 0, func(old int64) bool { return old != 0 }))
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

// A SCAN does a bounded amount of work, whatever it is asked for: a client that wants everything
// gets it in parts, and others are served in between. A key that goes beyond a bound is the last
// one of its SCAN.
const (
	maxCount   = 10_000  // entries that are looked at
	scanBatch  = 64      // of these in a section, which delays grace periods
	maxPattern = 1 << 10 // bytes
	maxKeys    = 1 << 20 // bytes of keys in a reply
	maxMatch   = 1 << 22 // steps of the matcher and bytes of keys together, some milliseconds
)

const patternTooLong = "ERR pattern is too long"

// scan is SCAN cursor [MATCH pattern] [COUNT n].
func scan(c *client, args [][]byte) {
	cursor, err := strconv.ParseUint(string(args[1]), 10, 64)
	if err != nil {
		c.fail("ERR invalid cursor")
		return
	}
	count := 10
	var pattern *matcher
	for i := 2; i < len(args); i += 2 {
		switch {
		case i+1 == len(args):
			c.fail(syntaxError)
			return
		case is(args[i], "match"):
			if len(args[i+1]) > maxPattern {
				c.fail(patternTooLong)
				return
			}
			pattern = newMatcher(args[i+1])
		case is(args[i], "count"):
			n, ok := integer(args[i+1])
			if !ok {
				c.fail(notInteger)
				return
			}
			if n < 1 {
				c.fail(syntaxError)
				return
			}
			count = int(min(n, maxCount))
		default:
			c.fail(syntaxError)
			return
		}
	}
	// The keys' number comes before them in the reply, and is known after them.
	next, n, _ := c.gather(cursor, count, pattern)
	c.array(2)
	c.text(strconv.FormatUint(next, 10))
	c.array(n)
	c.out = append(c.out, c.keys...)
	if cap(c.keys) > keepOut {
		c.keys = nil
	}
}

// gather puts about count keys behind a cursor into c.keys, if there is a pattern only those that
// match it. It returns the next cursor, how many keys there are, and the work that it took: steps
// of the matcher and bytes of the keys.
func (c *client) gather(cursor uint64, count int, pattern *matcher) (next uint64, n, work int) {
	c.keys = c.keys[:0]
	read := 0
	visit := func(key []byte) (more bool) {
		if read += len(key); pattern == nil || pattern.match(key) {
			c.keys = appendBulk(c.keys, key)
			n++
		}
		if work = read; pattern != nil {
			work += pattern.steps
		}
		return work < maxMatch && len(c.keys) < maxKeys
	}
	next = cursor
	for left, more := count, true; left > 0 && more; left -= scanBatch {
		next, more = c.server.store.scan(next, min(left, scanBatch), c.now, visit)
	}
	return next, n, work
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
