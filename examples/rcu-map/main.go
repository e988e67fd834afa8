// Rcu-map fills an off-heap hash map (slub/rcumap) and runs readers and writers on it for a while.
// It prints what they got done, how many grace periods passed, and what a garbage collection
// costs beside the map. README.md explains the program and the map.
//
//	go run ./examples/rcu-map -entries 2000000 -for 3s
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/rcumap"
)

// options are the flags.
type options struct {
	entries, readers, writers int
	runtime                   time.Duration
}

func main() {
	var o options
	flag.IntVar(&o.entries, "entries", 1_000_000, "`number` of keys")
	flag.IntVar(&o.readers, "readers", runtime.NumCPU(), "`number` of goroutines that look keys up")
	flag.IntVar(&o.writers, "writers", 1, "`number` of goroutines that replace and delete values")
	flag.DurationVar(&o.runtime, "for", 2*time.Second, "how `long` readers and writers run")
	flag.Parse()
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "rcu-map:", err)
		os.Exit(1)
	}
}

// run fills, uses and closes a map. Its error includes that of Close, which reports lost entries.
func run(o options, out io.Writer) (err error) {
	if o.entries < 1 || o.readers < 0 || o.writers < 0 {
		return errors.New("-entries must be at least 1, -readers and -writers not negative")
	}
	var domain rcu.Domain
	m, err := rcumap.New(rcumap.Config{Domain: &domain})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()

	begin := time.Now()
	for i := range o.entries {
		if err := m.Put(strconv.Itoa(i), []byte("value")); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%d entries put in %v, table of %d slots\n",
		m.Len(), time.Since(begin).Round(time.Millisecond), m.Slots())

	var done atomic.Bool
	var lookups, hits, updates atomic.Int64
	var working sync.WaitGroup
	failed := make(chan error, o.writers)
	for range o.readers {
		working.Go(func() {
			n, found := lookUp(m, o.entries, &done)
			lookups.Add(n)
			hits.Add(found)
		})
	}
	for range o.writers {
		working.Go(func() {
			n, err := update(m, o.entries, &done)
			updates.Add(n)
			failed <- err
		})
	}
	time.Sleep(o.runtime)
	done.Store(true)
	working.Wait()
	close(failed)
	for e := range failed {
		err = errors.Join(err, e)
	}
	millions := func(n *atomic.Int64) float64 { return float64(n.Load()) / o.runtime.Seconds() / 1e6 }
	fmt.Fprintf(out, "%.2f million lookups a second, %.0f %% found; %.2f million updates a second\n",
		millions(&lookups), 100*float64(hits.Load())/float64(max(1, lookups.Load())), millions(&updates))
	fmt.Fprintf(out, "%d grace periods have passed\n", domain.Stats().GracePeriods)

	begin = time.Now()
	runtime.GC()
	fmt.Fprintf(out, "a garbage collection takes %v\n", time.Since(begin).Round(10*time.Microsecond))
	return err
}

// minLookups is how many keys each reader looks up at least, however soon the time is over.
const minLookups = 1000

// lookUp looks random keys up until done. Like a loop that serves requests, it reports a quiescent
// state after each lookup and keeps nothing of the value beyond that.
func lookUp(m *rcumap.Map, entries int, done *atomic.Bool) (n, found int64) {
	r := m.Domain().Register("lookup")
	defer r.Close()
	var buf [20]byte
	for ; n < minLookups || !done.Load(); n++ {
		key := strconv.AppendInt(buf[:0], rand.Int64N(int64(entries)), 10)
		if value, ok := m.Get(string(key)); ok && len(value) > 0 {
			found++
		}
		r.Quiescent()
	}
	return n, found
}

// update replaces the values of random keys until done, and deletes one key in ten.
func update(m *rcumap.Map, entries int, done *atomic.Bool) (n int64, err error) {
	var buf [20]byte
	for ; !done.Load(); n++ {
		key := strconv.AppendInt(buf[:0], rand.Int64N(int64(entries)), 10)
		if n%10 == 0 {
			m.Delete(string(key))
		} else if err := m.Put(string(key), []byte("another value")); err != nil {
			return n, err
		}
	}
	return n, nil
}
