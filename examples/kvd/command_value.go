package main

import (
	"math"
	"strconv"
)

// The commands in this file read and write values.

func get(c *client, args [][]byte) { c.get(args[1]) }

// get replies with a key's value, or null.
func (c *client) get(key []byte) {
	out, found := c.server.store.get(c.out, key, c.now)
	if c.out = out; found {
		c.server.hits.Add(1)
	} else {
		c.server.misses.Add(1)
		c.null()
	}
}

func mget(c *client, args [][]byte) {
	c.array(len(args) - 1)
	for _, key := range args[1:] {
		c.get(key)
		if !c.sendMany() {
			return // batch ends the connection
		}
	}
}

// setUpdate is the updater of SET. It lies in the client, so that a SET leaves no garbage.
type setUpdate struct {
	value                     []byte
	deadline                  int64
	onlyNew, onlyOld, keepTTL bool
	wantOld                   bool // SET with GET: reply with the old value

	c    *client // gets the reply to wantOld
	done bool    // the value was set
}

func (u *setUpdate) change(old []byte, deadline int64, fresh []byte) (verdict, int, int64) {
	if u.wantOld {
		if old == nil {
			u.c.null()
		} else {
			u.c.out = appendBulk(u.c.out, old)
		}
	}
	if u.onlyNew && old != nil || u.onlyOld && old == nil {
		return keep, 0, 0
	}
	u.done = true
	if !u.keepTTL {
		deadline = u.deadline
	}
	return replace, copy(fresh, u.value), deadline
}

// set is SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL].
func set(c *client, args [][]byte) {
	u := &c.set
	*u = setUpdate{value: args[2], c: c}
	defer func() { *u = setUpdate{} }() // the request's buffer is used again
	for i := 3; i < len(args); i++ {
		switch unit, absolute := expiryOption(args[i]); {
		case unit > 0 && i+1 < len(args) && u.deadline == 0 && !u.keepTTL:
			i++
			var ok bool
			if u.deadline, ok = deadlineFrom(args[i], unit, absolute, c.now); !ok || u.deadline <= 0 {
				c.fail("ERR invalid expire time in 'set' command")
				return
			}
		case is(args[i], "nx") && !u.onlyOld:
			u.onlyNew = true
		case is(args[i], "xx") && !u.onlyNew:
			u.onlyOld = true
		case is(args[i], "get"):
			u.wantOld = true
		case is(args[i], "keepttl") && u.deadline == 0:
			u.keepTTL = true
		default:
			c.fail(syntaxError)
			return
		}
	}
	if u.deadline != 0 {
		c.server.timed.Store(true)
	}
	switch err := c.server.store.update(args[1], len(u.value), c.now, u); {
	case c.failed(err), u.wantOld:
	case u.done:
		c.ok()
	default:
		c.null()
	}
}

// expiryOption returns how many milliseconds the unit of an option of SET has, 0 for other options.
func expiryOption(arg []byte) (unit int64, absolute bool) {
	switch {
	case is(arg, "ex"):
		return 1000, false
	case is(arg, "px"):
		return 1, false
	case is(arg, "exat"):
		return 1000, true
	case is(arg, "pxat"):
		return 1, true
	}
	return 0, false
}

// deadlineFrom returns the deadline that an argument stands for: a number of units from now on, or
// since 1970. It is not positive for times that are not. It reports false for what is no number,
// and for times that are out of range.
func deadlineFrom(arg []byte, unit int64, absolute bool, now int64) (deadline int64, ok bool) {
	n, ok := integer(arg)
	if !ok || n > maxDeadline/unit || n < -maxDeadline/unit {
		return 0, false
	}
	if absolute || n <= 0 {
		return n * unit, true
	}
	return n*unit + now, n*unit <= maxDeadline-now
}

// mset sets each key by itself: unlike in Redis, another client may see the first without the
// second.
func mset(c *client, args [][]byte) {
	if len(args)%2 == 0 {
		c.wrongNumber("mset")
		return
	}
	for i := 1; i < len(args); i += 2 {
		c.set = setUpdate{value: args[i+1]}
		err := c.server.store.update(args[i], len(args[i+1]), c.now, &c.set)
		c.set = setUpdate{}
		if c.failed(err) {
			return
		}
	}
	c.ok()
}

// addUpdate is the updater of INCR and its kin.
type addUpdate struct {
	by, sum int64
	problem string // why nothing was added
}

// maxDigits is the room that a number takes.
const maxDigits = len("-9223372036854775808")

func (u *addUpdate) change(old []byte, deadline int64, fresh []byte) (verdict, int, int64) {
	n := int64(0)
	if old != nil {
		var ok bool
		if n, ok = integer(old); !ok {
			u.problem = notInteger
			return keep, 0, 0
		}
	}
	if u.by > 0 && n > math.MaxInt64-u.by || u.by < 0 && n < math.MinInt64-u.by {
		u.problem = "ERR increment or decrement would overflow"
		return keep, 0, 0
	}
	u.sum = n + u.by
	return replace, len(strconv.AppendInt(fresh[:0], u.sum, 10)), deadline
}

const notInteger = "ERR value is not an integer or out of range"

func incrBy(c *client, key []byte, by int64) {
	u := &c.add
	*u = addUpdate{by: by}
	switch err := c.server.store.update(key, maxDigits, c.now, u); {
	case c.failed(err):
	case u.problem != "":
		c.fail(u.problem)
	default:
		c.int(u.sum)
	}
}

func incrby(c *client, args [][]byte) {
	by, ok := integer(args[2])
	if !ok {
		c.fail(notInteger)
		return
	}
	incrBy(c, args[1], by)
}

func decrby(c *client, args [][]byte) {
	by, ok := integer(args[2])
	if !ok {
		c.fail(notInteger)
		return
	}
	if by == math.MinInt64 {
		c.fail("ERR decrement would overflow")
		return
	}
	incrBy(c, args[1], -by)
}
