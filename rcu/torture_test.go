package rcu

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
)

// The torture tests have the form of the kernel's rcutorture. Elements are published one after the
// other under one pointer. After its removal an element ages by one per grace period until it is
// used again. A reader notes the age of the elements that it holds: 0 while published, 1 from the
// removal to the end of the first grace period. If a reader holds an element of age 2 or more, a
// grace period has ended too early. docs/testing.md describes the tests as a whole.
const ages = 10

// stuckAfter is how long a grace period may take before it counts as stuck. Readers' sections take
// some milliseconds at most.
const stuckAfter = 15 * time.Second

// element is what torture's readers look up.
type element struct {
	age atomic.Int32
	// live is changed only while no reader may hold the element. It is plain, so that race builds
	// check the happens-before edges as well.
	live bool
}

type torture struct {
	t       *testing.T
	d       Domain
	current atomic.Pointer[element] // what readers look up
	free    chan *element           // elements that were never used, or have reached age ages
	seen    [ages + 1]atomic.Uint64 // how often readers noted each age
	stop    atomic.Bool             // the readers are done, or the test has failed

	failing sync.Once
	ctx     context.Context // ends with the first failure
	cancel  func()
}

// failf ends the test with its first failure, and all waiting with it. The other goroutines would
// fail in the same way, or hang.
func (tt *torture) failf(format string, args ...any) {
	tt.failing.Do(func() {
		tt.t.Errorf(format, args...)
		tt.stop.Store(true)
		tt.cancel()
	})
}

// going reports whether a writer that has the given number of aging elements goes on.
func (tt *torture) going(aging int) bool {
	return tt.ctx.Err() == nil && (!tt.stop.Load() || aging > 0)
}

// A scenario is one run of the test.
type scenario struct {
	name       string
	registered int    // registered readers that report
	entering   int    // registered readers that call Enter and Exit
	sections   int    // other readers that do
	from       uint64 // first number of the sequence; 0 for the usual one
	percent    int    // share of all look-ups
}

// Sequence numbers are compared by their signed difference. So there are two places to pass: where
// the numbers wrap, and where their sign changes.
const (
	beforeWrap = 1<<64 - 1000*step + first
	beforeSign = 1<<63 - 1000*step + first
)

var scenarios = []scenario{
	{name: "two registered", registered: 2, from: beforeWrap, percent: 15},
	{name: "two sections", sections: 2, percent: 15},
	{name: "two entering", entering: 2, percent: 15},
	{name: "four of each", registered: 4, entering: 4, sections: 4, from: beforeSign, percent: 25},
	{name: "thirty-two of each", registered: 32, entering: 32, sections: 32, from: beforeWrap, percent: 30},
}

// stress is testutil.Stress. Its default is lower in builds with invariants, which record every
// section.
func stress(t *testing.T, deflt int) int {
	switch {
	case testutil.Instrumented: // together with the quarter that Stress leaves: a twentieth
		deflt /= 5
	case invariants.Enabled:
		deflt /= 20
	}
	return testutil.Stress(t, deflt)
}

func TestTorture(t *testing.T) {
	seed := testutil.Seed(t)
	lookups := stress(t, 3_000_000)
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) { s.run(t, lookups/100*s.percent, seed) })
	}
}

// run has the scenario's readers make the given number of look-ups together, beside the goroutines
// that want grace periods and those that disturb them.
func (s scenario) run(t *testing.T, lookups int, seed uint64) {
	const elements = 200
	tt := &torture{t: t, free: make(chan *element, elements)}
	tt.ctx, tt.cancel = context.WithCancel(t.Context())
	defer tt.cancel()
	for range elements {
		tt.free <- &element{}
	}
	tt.current.Store(&element{live: true})
	if s.from != 0 {
		tt.d.startAt(s.from)
	}
	for range 30 { // so that scans take longer
		tt.d.Register("away").Offline()
	}
	defer testutil.Shuffle(t, seed)()

	stream := uint64(0)
	random := func() *rand.Rand { stream++; return rand.New(rand.NewPCG(seed, stream)) }
	var reading, writing sync.WaitGroup
	lookups /= s.registered + s.entering + s.sections
	for range s.registered {
		rng := random()
		reading.Go(func() { tt.read(&registeredReader{d: &tt.d}, rng, lookups) })
	}
	for range s.entering {
		rng := random()
		reading.Go(func() { tt.read(&sectionsOfReader{d: &tt.d}, rng, lookups) })
	}
	for range s.sections {
		rng := random()
		reading.Go(func() { tt.read(&sectionReader{d: &tt.d}, rng, lookups) })
	}
	for _, f := range []func(*rand.Rand){tt.mixer, tt.mixer, tt.poller, tt.deferrer, tt.fakeWriter, tt.fakeWriter, tt.disturber} {
		rng := random()
		writing.Go(func() { f(rng) })
	}
	reading.Wait()
	tt.stop.Store(true)
	writing.Wait()
	for range ages { // a callback may queue another one
		tt.mustEnd(tt.d.Barrier)
	}

	var seen [ages + 1]uint64
	for age := range seen {
		seen[age] = tt.seen[age].Load()
	}
	for age, n := range seen[2:] {
		if n > 0 {
			t.Errorf("readers held elements of age %d", age+2)
		}
	}
	if !t.Failed() && len(tt.free) != elements {
		t.Errorf("%d of %d elements came back", len(tt.free), elements)
	}
	t.Logf("ages seen %v; %+v", seen, tt.d.Stats())
}

// startAt moves a domain that is not in use yet to another sequence number.
func (d *Domain) startAt(seq uint64) {
	d.Enter().Exit() // makes the sections
	for _, s := range []*sequence{&d.seq, &d.completed, &d.expedited, &d.sections.Load().completed} {
		s.advanced.Store(seq - origin())
	}
}

// replace publishes an element and returns the removed one, which has age 1. At the end, or if no
// element is free, it returns nil.
func (tt *torture) replace() *element {
	if tt.stop.Load() {
		return nil
	}
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

// grow is called after each grace period of e, and reports whether e must wait for another one.
func (tt *torture) grow(e *element) bool {
	e.live = false
	if e.age.Add(1) < ages {
		return true
	}
	tt.free <- e
	return false
}

// inspect notes the ages of elements that the caller holds in a section.
func (tt *torture) inspect(held []*element) {
	for _, e := range held {
		age := e.age.Load()
		tt.seen[age].Add(1)
		if age >= 2 || !e.live {
			tt.failf("a reader holds an element of age %d, live %v: a grace period has ended early", age, e.live)
		}
	}
}

// randomDelay takes between no time and some milliseconds, mostly none. The goroutine often
// continues on another thread or CPU.
func randomDelay(rng *rand.Rand) {
	switch n := rng.IntN(1 << 16); {
	case n < 2:
		time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
	case n < 1<<8:
		time.Sleep(time.Duration(rng.IntN(20)) * time.Microsecond)
	case n < 1<<14:
		runtime.Gosched()
	}
}

// mustEnd calls wait, which waits for one grace period or several. They must end.
func (tt *torture) mustEnd(wait func(context.Context) error) {
	ctx, cancel := context.WithTimeout(tt.ctx, stuckAfter)
	defer cancel()
	if err := wait(ctx); err != nil && tt.ctx.Err() == nil {
		tt.failf("a grace period doesn't end: %v", err)
	}
}

// TestZeroTokenIsAlwaysOver: the zero Token is over wherever the sequence is, although it compares
// as later than half of all numbers.
func TestZeroTokenIsAlwaysOver(t *testing.T) {
	for _, from := range []uint64{first, 1<<63 + first, beforeWrap} {
		var d Domain
		d.startAt(from)
		if !d.Poll(0) || !d.PollNoAdvance(0) {
			t.Errorf("at %#x it is not", from)
		}
	}
}

// TestTortureOtherEngines is a small TestTorture on each engine.
func TestTortureOtherEngines(t *testing.T) {
	for _, engine := range []string{"trylock", "rseq"} {
		t.Run(engine, func(t *testing.T) {
			out, isChild, err := testutil.Rerun(t, "SLUBD_ENGINE="+engine)
			switch {
			case isChild:
				testutil.NeedEngine(t, engine, percpu.Engine(), percpu.Reason())
				scenario{registered: 2, sections: 2}.run(t, stress(t, 300_000), testutil.Seed(t))
			case err != nil:
				t.Errorf("%v\n%s", err, out)
			case !strings.Contains(out, "--- PASS: "+t.Name()):
				testutil.NeedHost(t, "rseq(2)", "linux-image-amd64", errors.New(out))
			}
		})
	}
}
