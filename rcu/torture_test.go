package rcu

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/slubd/slubd/internal/invariants"
	"github.com/slubd/slubd/internal/testutil"
)

// The torture tests have the form of the kernel's rcutorture: elements are
// published one after the other under one pointer, and after their removal
// they age by one per grace period until they are used again. A reader notes
// the age of what it holds: 0 while published, 1 from removal to the end of
// the first grace period. An age of 2 or more in a reader's hands means that a
// grace period has ended too early. docs/torture.md has the whole picture.
const ages = 10

// patience is how long a grace period may take before it counts as stuck. It
// is no bound on anything else: the longest thing that a reader does in a
// section is to sleep for some milliseconds.
const patience = 15 * time.Second

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
	stop    atomic.Bool             // the readers are done, or something has failed

	failing sync.Once
	ctx     context.Context // ends with the first failure
	cancel  func()
}

// failf ends the test with its first failure, everybody's waiting included: the
// others would say the same, or hang.
func (tt *torture) failf(format string, args ...any) {
	tt.failing.Do(func() {
		tt.t.Errorf(format, args...)
		tt.stop.Store(true)
		tt.cancel()
	})
}

// going reports whether a writer goes on that has so many elements in its hands.
func (tt *torture) going(aging int) bool {
	return tt.ctx.Err() == nil && (!tt.stop.Load() || aging > 0)
}

// A scenario is one run of the test.
type scenario struct {
	name     string
	members  int    // readers that are registered
	visitors int    // readers that are not
	from     uint64 // where the sequence starts, if not where it always does
	percent  int    // of all look-ups
}

// Sequence numbers are compared by their signed difference, so two places are
// worth passing: where they wrap, and where their sign does.
const (
	beforeWrap = 1<<64 - 1000*step + first
	beforeSign = 1<<63 - 1000*step + first
)

var scenarios = []scenario{
	{"two members", 2, 0, beforeWrap, 15},
	{"two visitors", 0, 2, 0, 15},
	{"four of each", 4, 4, beforeSign, 30},
	{"thirty-two of each", 32, 32, beforeWrap, 40},
}

// stress is testutil.Stress, with less by default where every section leaves a trace.
func stress(t *testing.T, deflt int) int {
	if invariants.Enabled {
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

// run has the scenario's readers look up so many elements together, beside
// everything that asks for grace periods and everything that disturbs.
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
	for range 30 { // scans should take their time
		tt.d.Register("away").Offline()
	}
	defer testutil.Shuffle(t, seed)()

	stream := uint64(0)
	random := func() *rand.Rand { stream++; return rand.New(rand.NewPCG(seed, stream)) }
	var reading, writing sync.WaitGroup
	lookups /= s.members + s.visitors
	for range s.members {
		rng := random()
		reading.Go(func() { tt.read(&member{d: &tt.d}, rng, lookups) })
	}
	for range s.visitors {
		rng := random()
		reading.Go(func() { tt.read(&visitor{d: &tt.d}, rng, lookups) })
	}
	for _, f := range []func(*rand.Rand){tt.mixer, tt.mixer, tt.poller, tt.deferrer, tt.asker, tt.asker, tt.nuisance} {
		rng := random()
		writing.Go(func() { f(rng) })
	}
	reading.Wait()
	tt.stop.Store(true)
	writing.Wait()
	for range ages { // a callback may queue another one
		tt.within(tt.d.Barrier)
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

// startAt moves a domain that nobody uses yet to another sequence number.
func (d *Domain) startAt(seq uint64) {
	d.Enter().Exit() // makes the sections
	for _, s := range []*sequence{&d.seq, &d.completed, &d.expedited, &d.sections.Load().completed} {
		s.advanced.Store(seq - origin())
	}
}

// replace publishes a fresh element and returns the one that was removed,
// which has age 1, or nil at the end or if all elements are on their way.
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

// inspect notes the ages of elements that the caller is in a section with.
func (tt *torture) inspect(held []*element) {
	for _, e := range held {
		age := e.age.Load()
		tt.seen[age].Add(1)
		if age >= 2 || !e.live {
			tt.failf("a reader holds an element of age %d, live %v: a grace period has ended early", age, e.live)
		}
	}
}

// dawdle takes anything from no time to some milliseconds, mostly none, and
// often leads to another thread or CPU.
func dawdle(rng *rand.Rand) {
	switch n := rng.IntN(1 << 16); {
	case n < 2:
		time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
	case n < 1<<8:
		time.Sleep(time.Duration(rng.IntN(20)) * time.Microsecond)
	case n < 1<<14:
		runtime.Gosched()
	}
}

// within has wait go through a grace period, or more, which must end.
func (tt *torture) within(wait func(context.Context) error) {
	ctx, cancel := context.WithTimeout(tt.ctx, patience)
	defer cancel()
	if err := wait(ctx); err != nil && tt.ctx.Err() == nil {
		tt.failf("a grace period doesn't end: %v", err)
	}
}

// The zero Token is over wherever the sequence is, although half of all numbers seem to
// lie before it.
func TestZeroTokenIsAlwaysOver(t *testing.T) {
	for _, from := range []uint64{first, 1<<63 + first, beforeWrap} {
		var d Domain
		d.startAt(from)
		if !d.Poll(0) || !d.Elapsed(0) {
			t.Errorf("at %#x it is not", from)
		}
	}
}

// The engine that this process didn't choose, in small.
func TestTortureOtherEngines(t *testing.T) {
	for _, engine := range []string{"trylock", "rseq"} {
		t.Run(engine, func(t *testing.T) {
			out, isChild, err := testutil.Rerun(t, "SLUBD_ENGINE="+engine)
			if isChild {
				scenario{members: 2, visitors: 2}.run(t, stress(t, 300_000), testutil.Seed(t))
				return
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
