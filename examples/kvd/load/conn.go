package main

import (
	"bufio"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// A conn is a connection to a server. One goroutine may write to it and one read, at a time.
type conn struct {
	net.Conn
	in     *bufio.Reader
	out    []byte
	random *rand.Rand
	o      *options
	value  []byte // the largest value; others are its beginning
}

func dial(o *options, address string, seed uint64) (*conn, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	value := make([]byte, o.large)
	for i := range value {
		value[i] = byte('a' + i%26)
	}
	return &conn{Conn: c, in: bufio.NewReaderSize(c, 64<<10), random: rand.New(rand.NewPCG(seed, 0)), o: o, value: value}, nil
}

// dialAll opens the connections.
func dialAll(o *options, address string) (conns []*conn, closeAll func(), err error) {
	closeAll = func() {
		for _, c := range conns {
			c.Close()
		}
	}
	for i := range o.conns {
		c, err := dial(o, address, uint64(i+1))
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		conns = append(conns, c)
	}
	return conns, closeAll, nil
}

// size returns the length of a value: each doubling is as likely as the next one, so that small
// values are more frequent, as in caches.
func (c *conn) size() int {
	low, high := float64(c.o.small), float64(c.o.large)
	return min(c.o.large, int(low*math.Pow(high/low, c.random.Float64())+0.5))
}

// add appends a random request to what is to be sent.
func (c *conn) add() {
	key := c.random.IntN(c.o.keys)
	if c.random.Float64() < c.o.gets {
		c.get(key)
	} else {
		c.set(key)
	}
}

func (c *conn) get(key int) {
	c.out = append(c.out, "*2\r\n$3\r\nGET\r\n"...)
	c.key(key)
}

func (c *conn) set(key int) {
	c.out = append(c.out, "*3\r\n$3\r\nSET\r\n"...)
	c.key(key)
	n := c.size()
	c.out = strconv.AppendInt(append(c.out, '$'), int64(n), 10)
	c.out = append(append(append(c.out, "\r\n"...), c.value[:n]...), "\r\n"...)
}

// key appends a key of 14 bytes.
func (c *conn) key(key int) {
	c.out = fmt.Appendf(c.out, "$14\r\nkey:%010d\r\n", key)
}

// flush sends what was added.
func (c *conn) flush() error {
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err
}

// reply reads one reply and drops it. The reply to a SET, or a GET, may not be an error.
func (c *conn) reply() error {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	switch line[0] {
	case '-':
		return fmt.Errorf("the server says %q", line)
	case '$':
		n, err := strconv.Atoi(strings.TrimSpace(string(line[1:])))
		if err != nil || n < 0 {
			return err
		}
		_, err = c.in.Discard(n + 2)
		return err
	}
	return nil
}
