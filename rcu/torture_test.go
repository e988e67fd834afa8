package rcu

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/testutil"
)

// The torture test has the form of the kernel's rcutorture: elements are
// published one after the other under one pointer, and after their removal
// they age by one per grace period until they are used again. A reader notes
// the age of what it holds: 0 while published, 1 from removal to the end of
// the first grace period. An age of 2 or more in a reader's hands means that a
// grace period has ended too early.
const ages = 10

// element is what torture's readers look up.
type element struct {
	age atomic.Int32
	// live is changed only while no reader may hold the element. It is plain,
	// so that race builds check the happens-before edges as well.
	live bool
}

type torture struct {
	t       *testing.T
	d       Domain
	current atomic.Pointer[element] // what readers look up
	free    chan *element           // elements whose age is ages or that were never used
	seen    [ages + 1]atomic.Uint64 // the ages that readers noted
	stop    atomic.Bool
}

// replace publishes a fresh element and returns the one that was removed,
// which has age 1, or nil if all elements are on their way.
func (tt *torture) replace() *element {
	select {
	case e := <-tt.free:
		e.live = true
		e.age.Store(0)
		e = tt.current.Swap(e)
		e.age.Store(1)
		return e
	default:
		runtime.Gosched()
		return nil
	}
}

// grow is called for each grace period that e has been through, and reports
// whether it must go through another one.
func (tt *torture) grow(e *element) bool {
	e.live = false
	if e.age.Add(1) < ages {
		return true
	}
	tt.free <- e
	return false
}

// synchronizer ages by Synchronize, several elements at a time.
func (tt *torture) synchronizer() {
	var aging []*element
	for !tt.stop.Load() || len(aging) > 0 {
		if !tt.stop.Load() {
			if e := tt.replace(); e != nil {
				aging = append(aging, e)
			}
		}
		if err := tt.d.Synchronize(context.Background()); err != nil {
			tt.t.Error(err)
		}
		rest := aging[:0]
		for _, e := range aging {
			if tt.grow(e) {
				rest = append(rest, e)
			}
		}
		aging = rest
	}
}

// deferrer ages by callbacks that queue themselves again.
func (tt *torture) deferrer() {
	for !tt.stop.Load() {
		if e := tt.replace(); e != nil {
			tt.later(e)
		}
	}
}

func (tt *torture) later(e *element) {
	tt.d.Defer(func() {
		if tt.grow(e) {
			tt.later(e)
		}
	})
}

// poller ages by tokens, each element at its own pace.
func (tt *torture) poller() {
	type waiting struct {
		e     *element
		token Token
	}
	var aging []waiting
	for !tt.stop.Load() || len(aging) > 0 {
		if !tt.stop.Load() {
			if e := tt.replace(); e != nil {
				aging = append(aging, waiting{e, tt.d.Start()})
			}
		}
		rest := aging[:0]
		for _, w := range aging {
			if !tt.d.Poll(w.token) {
				rest = append(rest, w)
			} else if tt.grow(w.e) {
				rest = append(rest, waiting{w.e, tt.d.Start()})
			}
		}
		aging = rest
		runtime.Gosched()
	}
}

// nuisance does what must disturb nobody: it gives up waiting, waits for
// other people's callbacks, and looks at the figures.
func (tt *torture) nuisance() {
	for !tt.stop.Load() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Microsecond)
		_ = tt.d.Synchronize(ctx) // either outcome is right
		cancel()
		if err := tt.d.Barrier(context.Background()); err != nil {
			tt.t.Error(err)
		}
		tt.d.Stats()
	}
}

// reader holds up to eight elements across sections of random length and
// reports, blocks offline or registers anew in between.
func (tt *torture) reader(rng *rand.Rand, sections int) {
	r := tt.d.Register("torture")
	defer func() { r.Close() }()
	var held []*element
	for range sections {
		r.Lock()
		held = append(held, tt.current.Load())
		dawdle(rng)
		for _, e := range held {
			age := e.age.Load()
			tt.seen[age].Add(1)
			if !e.live {
				tt.t.Errorf("a reader holds a dead element of age %d", age)
			}
		}
		r.Unlock()
		switch n := rng.IntN(256); {
		case n < 64 && len(held) < 8: // go on holding
			continue
		case n < 66:
			r.Close()
			r = tt.d.Register("torture again")
		case n < 96:
			r.Offline()
			dawdle(rng)
			r.Online()
		default:
			r.Quiescent()
		}
		held = held[:0]
	}
}

// dawdle takes anything from no time to some tens of microseconds.
func dawdle(rng *rand.Rand) {
	switch n := rng.IntN(1024); {
	case n < 4:
		time.Sleep(time.Duration(rng.IntN(20)) * time.Microsecond)
	case n < 128:
		runtime.Gosched()
	}
}

func TestTorture(t *testing.T) {
	const readers, elements = 4, 200
	sections := testutil.Stress(t, 1_000_000) / readers
	seed := testutil.Seed(t)
	tt := &torture{t: t, free: make(chan *element, elements)}
	for range elements {
		tt.free <- &element{}
	}
	tt.current.Store(&element{live: true})

	for range 30 { // scans should take their time
		tt.d.Register("away").Offline()
	}

	var reading, writing sync.WaitGroup
	for i := range readers {
		reading.Go(func() { tt.reader(rand.New(rand.NewPCG(seed, uint64(i))), sections) })
	}
	writing.Go(tt.synchronizer)
	writing.Go(tt.poller)
	writing.Go(tt.deferrer)
	writing.Go(tt.nuisance)
	reading.Wait()
	tt.stop.Store(true)
	writing.Wait()
	for range ages { // a callback may queue another one
		barrier(t, &tt.d)
	}

	var seen [ages + 1]uint64
	for age := range seen {
		seen[age] = tt.seen[age].Load()
		if age >= 2 && seen[age] > 0 {
			t.Errorf("readers held elements of age %d", age)
		}
	}
	if len(tt.free) != elements {
		t.Errorf("%d of %d elements came back", len(tt.free), elements)
	}
	t.Logf("ages seen %v; %+v", seen, tt.d.Stats())
}
