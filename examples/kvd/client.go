package main

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// A client is one connection. Its goroutine reads requests, runs them, and writes the replies when
// no complete request is left: so a pipeline of many requests costs one write.
type client struct {
	server *server
	conn   net.Conn
	in     *reader
	out    []byte    // replies that are not sent yet
	now    int64     // Unix milliseconds, read once for each batch of requests
	done   bool      // the client has said QUIT
	broken error     // why no reply can be sent any more
	renew  time.Time // when the deadline for sending has to be set again

	// What commands use again and again, so that requests leave no garbage.
	name [maxName]byte
	set  setUpdate
	add  addUpdate
	keys []byte
}

const (
	// sendAt is how many bytes of replies are sent before the pipeline is done. A client that asks
	// for much and reads nothing is then waited for: its replies take no more memory than this and
	// one value.
	sendAt = 64 << 10
	// keepOut is the largest buffer that a connection keeps for its next replies.
	keepOut = 256 << 10
	// sendTimeout is how long a client may take to read what fits into no buffer, or a tenth less:
	// the deadline is not set again for each reply, which would cost several per cent.
	sendTimeout = 10 * time.Second
)

// serve runs the client's requests until it leaves, breaks the protocol, or the server closes. It
// returns why the connection ends, nil if that is the client's wish or the server's.
func (c *client) serve() error {
	for {
		if err := c.batch(); err != nil {
			return err
		}
		if err := c.send(); err != nil || c.done {
			return err
		}
		// The server closes after it has set closing, and then wakes all that wait here: its
		// deadline comes after this one, or the load sees closing. Without -idle there is no other.
		if c.server.idle > 0 {
			if err := c.conn.SetReadDeadline(time.Now().Add(c.server.idle)); err != nil {
				return err
			}
		}
		if c.server.closing.Load() {
			return nil
		}
		err := c.in.fill()
		switch {
		case err == nil:
		case err == io.EOF || c.server.closing.Load():
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			return errIdle
		case err != nil:
			return err
		}
	}
}

var (
	errIdle = errors.New("idle for longer than -idle")
	errCut  = errors.New("the server closes and the client has not read its replies")
)

// batch runs the requests that have arrived in full.
func (c *client) batch() error {
	c.now = unixMilli()
	for !c.done {
		if c.server.cut.Load() {
			return errCut
		}
		args, err := c.in.next()
		if err != nil {
			c.server.protocolErrors.Add(1)
			c.out = appendError(c.out, "ERR "+err.Error())
			return errors.Join(err, c.send())
		}
		if args == nil {
			return nil
		}
		c.run(args)
		if len(c.out) >= sendAt {
			c.now = unixMilli()
		}
		if !c.sendMany() {
			return c.broken
		}
	}
	return nil
}

// sendMany sends the replies if there are many bytes of them, also in the middle of a command that
// replies with many values. It reports whether replies can still be sent.
func (c *client) sendMany() bool {
	if c.broken == nil && len(c.out) >= sendAt {
		c.broken = c.send()
	}
	return c.broken == nil
}

// send writes the replies.
func (c *client) send() error {
	if len(c.out) == 0 {
		return nil
	}
	if now := time.Now(); !now.Before(c.renew) {
		if err := c.conn.SetWriteDeadline(now.Add(sendTimeout)); err != nil {
			return err
		}
		c.renew = now.Add(sendTimeout / 10)
	}
	_, err := c.conn.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > keepOut {
		c.out = nil
	}
	return err
}

// reply methods append one reply.

func (c *client) ok()             { c.out = appendOK(c.out) }
func (c *client) null()           { c.out = appendNull(c.out) }
func (c *client) int(n int64)     { c.out = appendInt(c.out, n) }
func (c *client) text(s string)   { c.out = appendBulk(c.out, s) }
func (c *client) array(n int)     { c.out = appendArray(c.out, n) }
func (c *client) fail(msg string) { c.out = appendError(c.out, msg) }

func (c *client) bool(b bool) {
	if b {
		c.int(1)
	} else {
		c.int(0)
	}
}

// failed replies with the error of a store, if it is one.
func (c *client) failed(err error) bool {
	if err != nil {
		c.fail("OOM " + err.Error())
	}
	return err != nil
}
