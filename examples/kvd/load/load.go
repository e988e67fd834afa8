package main

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// pipeline is how many SETs fill sends before it reads their replies.
const pipeline = 64

// each runs work on all connections at the same time, and returns their errors.
func each(conns []*conn, work func(i int, c *conn) error) error {
	errs := make([]error, len(conns))
	var working sync.WaitGroup
	for i, c := range conns {
		working.Go(func() { errs[i] = work(i, c) })
	}
	working.Wait()
	return errors.Join(errs...)
}

// fill sets every key once, in order.
func fill(o options, address string) error {
	return setAll(&o, address, func(i int) int { return i })
}

// overwrite sets every key once more, in random order.
func overwrite(ctx context.Context, o options, address string) error {
	order := rand.New(rand.NewPCG(3, 4)).Perm(o.keys)
	return errors.Join(ctx.Err(), setAll(&o, address, func(i int) int { return order[i] }))
}

// setAll sets the keys that key returns for 0 to o.keys-1.
func setAll(o *options, address string, key func(i int) int) error {
	conns, closeAll, err := dialAll(o, address)
	if err != nil {
		return err
	}
	defer closeAll()
	return each(conns, func(first int, c *conn) error {
		for i := first; i < o.keys; {
			n := 0
			for ; n < pipeline && i < o.keys; i += len(conns) {
				c.set(key(i))
				n++
			}
			if err := c.flush(); err != nil {
				return err
			}
			for range n {
				if err := c.reply(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// saturate returns how many requests a second are answered if each connection sends its next
// request when it has the reply to the last one.
func saturate(ctx context.Context, o options, address string) (perSecond float64, err error) {
	conns, closeAll, err := dialAll(&o, address)
	if err != nil {
		return 0, err
	}
	defer closeAll()
	length := min(o.length, 20*time.Second)
	begin := time.Now()
	counts := make([]int, len(conns))
	err = each(conns, func(i int, c *conn) error {
		for counts[i] == 0 || time.Since(begin) < length {
			c.add()
			if err := errors.Join(ctx.Err(), c.flush()); err != nil {
				return err
			}
			if err := c.reply(); err != nil {
				return err
			}
			counts[i]++
		}
		return nil
	})
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / time.Since(begin).Seconds(), err
}

// tail has the latencies of requests, in nanoseconds.
type tail struct{ *hdrhistogram.Histogram }

func newTail() tail { return tail{hdrhistogram.New(1, int64(10*time.Minute), 3)} }

// ms returns the median, p99, p99.9, p99.99 and the largest, in milliseconds.
func (t tail) ms() (ms [5]float64) {
	for i, q := range []float64{50, 99, 99.9, 99.99, 100} {
		ms[i] = float64(t.ValueAtQuantile(q)) / 1e6
	}
	return ms
}

// inFlight is how many requests a connection may have sent without a reply. If there are more, the
// next ones are sent later, and their latency counts from when they were due nevertheless.
const inFlight = 1 << 14

// openLoop sends requests at o.rate for o.length, and until enough reports true or o.longest is
// over, at random times: the gaps are exponential, as where many clients know nothing of each
// other. It returns the latencies, how late the load itself was, and how many requests a second
// were answered.
func openLoop(ctx context.Context, o options, address string, enough func() bool) (t, late tail, perSecond float64, err error) {
	conns, closeAll, err := dialAll(&o, address)
	if err != nil {
		return t, late, 0, err
	}
	defer closeAll()
	begin := time.Now()
	due := make([]chan time.Duration, len(conns)) // times since begin, of requests without a reply
	for i := range due {
		due[i] = make(chan time.Duration, inFlight)
	}
	tails := make([]tail, len(conns))
	failed := make(chan error, 1)
	go func() {
		failed <- each(conns, func(i int, c *conn) error {
			tails[i] = newTail()
			for at := range due[i] {
				if err := c.reply(); err != nil {
					c.Close()
					for range due[i] { // so that the sender is not held up
					}
					return err
				}
				if err := tails[i].RecordValue(int64(time.Since(begin) - at)); err != nil {
					return err
				}
			}
			return nil
		})
	}()
	s := sender{options: o, conns: conns, due: due, begin: begin, late: newTail()}
	err = s.send(ctx, enough)
	for _, d := range due {
		close(d)
	}
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		err = nil // a receiver has closed it, and says why
	}
	err = errors.Join(err, <-failed)
	t = newTail()
	for _, other := range tails {
		t.Merge(other.Histogram)
	}
	return t, s.late, float64(t.TotalCount()) / time.Since(begin).Seconds(), err
}

// A sender sends the requests of an open loop.
type sender struct {
	options
	conns []*conn
	due   []chan time.Duration // by connection: when its requests were due
	begin time.Time
	late  tail // from when requests were due until they were sent
}

// send sends requests when they are due, on one connection after the other.
func (s *sender) send(ctx context.Context, enough func() bool) error {
	// One thread of its own, which the kernel wakes at the microsecond; Go's timers may be a
	// millisecond late.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// It holds a P while it sleeps: Go may take it away as late as 10 ms after that. So it gets one
	// more than there are CPUs; otherwise the receivers see answers that much later.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1))
	if err := wakeOnTime(); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	gap := func() time.Duration { return time.Duration(random.ExpFloat64() / s.rate * 1e9) }
	goesOn := func(at time.Duration) bool { return at < s.length || at < s.longest && !enough() }
	for at, i := gap(), 0; goesOn(at); at, i = at+gap(), (i+1)%len(s.conns) {
		if wait := at - time.Since(s.begin); wait > 0 {
			pause(wait)
		}
		c := s.conns[i]
		c.add()
		if err := s.late.RecordValue(int64(max(0, time.Since(s.begin)-at))); err != nil {
			return err
		}
		s.due[i] <- at
		if err := errors.Join(ctx.Err(), c.flush()); err != nil {
			return err
		}
	}
	return nil
}
