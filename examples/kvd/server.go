package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A server serves a store to clients.
type server struct {
	store      store
	storeName  string
	maxRequest int           // bytes of one request
	maxClients int           // connections at a time
	idle       time.Duration // time until a silent connection is closed; 0 for never
	log        *slog.Logger
	started    time.Time

	closing atomic.Bool
	cut     atomic.Bool   // clients that are still there are not answered any more
	grace   time.Duration // from closing to cut
	timed   atomic.Bool   // a key has had a deadline: there may be something to expire
	mu      sync.Mutex    // guards clients
	clients map[*client]struct{}
	serving sync.WaitGroup // of the clients

	hits, misses, expired, protocolErrors, refused atomic.Uint64
	calls                                          []atomic.Uint64 // by command, as in commands
}

func newServer(s store, o options, log *slog.Logger) *server {
	return &server{store: s, storeName: o.store, maxRequest: o.maxRequest, maxClients: o.maxClients,
		idle: o.idle, log: log, started: time.Now(), grace: o.grace,
		clients: map[*client]struct{}{}, calls: make([]atomic.Uint64, len(commands))}
}

// serve accepts clients until the listener is closed.
func (s *server) serve(l net.Listener) error {
	for pause := time.Millisecond; ; {
		conn, err := l.Accept()
		switch {
		case err == nil:
			pause = time.Millisecond
			s.accept(conn)
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // no file descriptors, for example: some will be free again
			s.log.Warn("accepting a connection", "error", err)
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
		}
	}
}

// accept starts a client's goroutine, or refuses it.
func (s *server) accept(conn net.Conn) {
	c := &client{server: s, conn: conn, in: newReader(conn, s.maxRequest)}
	s.mu.Lock()
	full := len(s.clients) >= s.maxClients
	if !full {
		s.clients[c] = struct{}{}
		s.serving.Add(1)
	}
	s.mu.Unlock()
	if full {
		s.refused.Add(1)
		// The text fits into the socket's buffer: this never waits.
		fmt.Fprint(conn, "-ERR max number of clients reached\r\n")
		conn.Close()
		return
	}
	go func() {
		defer s.serving.Done()
		err := c.serve()
		conn.Close()
		s.mu.Lock()
		delete(s.clients, c)
		s.mu.Unlock()
		if err != nil {
			s.log.Debug("connection closed", "client", conn.RemoteAddr(), "error", err)
		}
	}()
}

// closeClients ends all connections and waits for them. Requests that were read in full are run and
// answered, until the grace is over: then a client that reads slowly, or has sent much more than it
// reads, loses its connection. The caller has ended serve.
func (s *server) closeClients() {
	s.closing.Store(true)
	now := time.Now()
	s.mu.Lock()
	for c := range s.clients {
		c.conn.SetReadDeadline(now)
	}
	s.mu.Unlock()
	late := time.AfterFunc(s.grace, s.cutClients)
	defer late.Stop()
	s.serving.Wait()
}

// cutClients closes the connections that are left. A client that runs requests looks at cut before
// each, and one that writes a reply finds its connection closed.
func (s *server) cutClients() {
	s.cut.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		c.conn.Close()
	}
	s.log.Warn("clients have not read their replies in time", "clients", len(s.clients), "time", s.grace)
}

// connected returns the number of clients.
func (s *server) connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

// The active expiry runs ten times a second and looks at a thousandth of all entries, so that each
// is looked at once in 100 s or so. Where more than a quarter of what it sees has expired it goes
// on, for a quarter of the time at most.
const (
	expireEvery  = 100 * time.Millisecond
	expireBudget = expireEvery / 4
	expireBatch  = 128
)

// expireUntil frees what has expired and is not asked for any more, until stop is closed.
func (s *server) expireUntil(stop <-chan struct{}) {
	tick := time.NewTicker(expireEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			s.expireSome(time.Now().Add(expireBudget))
		}
	}
}

// expireSome is one round of the active expiry, which ends at the given time.
func (s *server) expireSome(until time.Time) {
	if !s.timed.Load() {
		return
	}
	for left := s.store.len() / 1000; ; {
		seen, gone := s.store.expire(expireBatch, unixMilli())
		s.expired.Add(uint64(gone))
		left -= seen
		if left <= 0 && 4*gone <= seen || seen == 0 || time.Now().After(until) {
			return
		}
	}
}
