package slub_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/internal/freequeue"
)

// This is rcu's torture test with objects of a cache, which are freed by FreeRCU. The destructor
// poisons them, so a reader whose grace period ended too early finds poison, or another object's
// content. When Barrier returns, everything given to FreeRCU before must be destroyed.

// A tortureObject is such an object. All fields except life are plain memory, as in users'
// objects.
type tortureObject struct {
	life  atomic.Uint32 // stage
	owner uint32        // the writer that published it
	words [6]uint64     // all equal; the free pointer overwrites one
}

// A stage is a part of an object's life. An object goes through them in this order.
type stage = uint32

const (
	unborn    stage = iota // memory that was never used, or was given to Free
	published              // readers may find it
	removed                // readers may hold it
	destroyed              // no reader may hold it
	stages
)

const poison = 0xdead_dead_dead_dead

type torture struct {
	t      *testing.T
	cache  *slub.Cache
	domain *rcu.Domain
	slots  [16]atomic.Pointer[tortureObject] // where readers look
	seen   [stages]atomic.Uint64             // objects that readers held, by stage
	died   []atomic.Int64                    // destroyed, by owner
	poor   bool                              // there is no memory for sheaves and pages

	stop    atomic.Bool // the writers are done, or something has failed
	failing sync.Once
}

// failf ends the test with its first failure: the others would say the same.
func (tt *torture) failf(format string, args ...any) {
	tt.failing.Do(func() { tt.t.Errorf(format, args...) })
	tt.stop.Store(true)
}

// destroy is the cache's RCUDtor.
func (tt *torture) destroy(p unsafe.Pointer) {
	s := (*tortureObject)(p)
	for i := range s.words {
		s.words[i] = poison
	}
	if was := s.life.Swap(destroyed); was != removed {
		tt.failf("%p was destroyed in stage %d", p, was)
		return
	}
	tt.died[s.owner].Add(1)
}

// A tortureWriter publishes objects in the place of others, which it gives to FreeRCU.
type tortureWriter struct {
	*torture
	number uint32
	rng    *rand.Rand
	stamp  uint64
	freed  int64 // given to FreeRCU
}

func (b *tortureWriter) run(ops int) {
	for ops > 0 && !b.stop.Load() {
		n := 1 + b.rng.IntN(100)
		ops -= n
		for range n {
			b.exchange()
		}
		runtime.Gosched() // so that a sheaf has objects of several owners
		switch b.rng.IntN(256) {
		case 0, 1:
			b.barrier()
		case 2:
			b.cache.Shrink()
		}
	}
	for i := range b.slots {
		b.retire(b.slots[i].Swap(nil))
	}
	b.barrier()
}

// exchange publishes one object and retires another. At times it frees the new one instead, so
// that the objects of reclaimed sheaves reach slabs and other CPUs.
func (b *tortureWriter) exchange() {
	p, err := b.cache.Alloc()
	if err != nil {
		b.barrier() // memory that waits for grace periods
		return
	}
	s := (*tortureObject)(p)
	if was := s.life.Load(); was == published || was == removed {
		b.failf("%p was handed out in stage %d", p, was)
	}
	if b.rng.IntN(8) == 0 {
		s.life.Store(unborn)
		b.cache.Free(p)
		return
	}
	b.stamp += 2
	s.owner = b.number
	for i := range s.words {
		s.words[i] = b.stamp
	}
	s.life.Store(published)
	b.retire(b.slots[b.rng.IntN(len(b.slots))].Swap(s))
}

// retire gives an object to FreeRCU and makes the writer its owner, whose Barrier must wait for
// it.
func (b *tortureWriter) retire(s *tortureObject) {
	if s == nil {
		return
	}
	s.owner = b.number
	s.life.Store(removed)
	b.freed++
	b.cache.FreeRCU(unsafe.Pointer(s))
}

// barrier checks that Barrier waits for everything that the writer gave to FreeRCU.
func (b *tortureWriter) barrier() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.cache.Barrier(ctx); err != nil {
		b.failf("Barrier: %v", err)
	} else if died := b.died[b.number].Load(); died != b.freed {
		b.failf("Barrier returned after %d destructions of %d", died, b.freed)
	}
}

// readRegistered reads as a registered reader, which goes offline at times.
func (tt *torture) readRegistered(rng *rand.Rand) {
	r := tt.domain.Register("torture")
	defer func() { _ = r.Close() }()
	for !tt.stop.Load() {
		tt.read(rng)
		if r.Quiescent(); rng.IntN(16) == 0 {
			r.Offline()
			randomDelay(rng)
			r.Online()
		}
	}
}

// readInSections reads between Enter and Exit.
func (tt *torture) readInSections(rng *rand.Rand) {
	for !tt.stop.Load() {
		section := tt.domain.Enter()
		tt.read(rng)
		section.Exit()
	}
}

// read looks objects up, waits a while, and inspects them.
func (tt *torture) read(rng *rand.Rand) {
	var held [8]struct {
		s     *tortureObject
		stamp uint64
	}
	for i := range held {
		s := tt.slots[rng.IntN(len(tt.slots))].Load()
		if held[i].s = s; s != nil {
			held[i].stamp = s.words[0]
		}
	}
	randomDelay(rng)
	for _, h := range held {
		if h.s != nil {
			tt.inspect(h.s, h.stamp)
		}
	}
}

// inspect checks an object that the caller holds in a section, and counts its stage.
func (tt *torture) inspect(s *tortureObject, stamp uint64) {
	life := s.life.Load()
	tt.seen[life].Add(1)
	intact := stamp != poison
	for i := range s.words {
		intact = intact && s.words[i] == stamp
	}
	if !intact || life != published && life != removed {
		tt.failf("a reader holds %p, in stage %d, with %#x, had %#x: freed too early", s, life, s.words, stamp)
	}
}

// randomDelay takes up to some milliseconds, mostly no time.
func randomDelay(rng *rand.Rand) {
	switch n := rng.IntN(1 << 14); {
	case n < 2:
		time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
	case n < 1<<6:
		time.Sleep(time.Duration(rng.IntN(20)) * time.Microsecond)
	case n < 1<<12:
		runtime.Gosched()
	}
}

func (tt *torture) run(t *testing.T, cfg slub.Config, topology arena.Config, ops int, seed uint64) {
	const writers, registered, sections = 4, 4, 4
	tt.t, tt.domain, tt.died = t, new(rcu.Domain), make([]atomic.Int64, writers)
	cfg.Size, cfg.Domain, cfg.RCUDtor = int64(unsafe.Sizeof(tortureObject{})), tt.domain, tt.destroy
	tt.cache = open(t, newArena(t, topology), cfg)
	if tt.poor { // the mapping of the first sheaf has no room for a second one of 8000
		defer sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)()
		var hoard freequeue.Hoard
		for hoard.Take() {
		}
		defer hoard.Give(math.MaxInt)
	}
	defer testutil.Shuffle(t, seed)()

	var reading, writing sync.WaitGroup
	for i := range writers + registered + sections {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		switch {
		case i < writers:
			b := &tortureWriter{torture: tt, number: uint32(i), rng: rng, stamp: uint64(i+1) << 40}
			writing.Go(func() { b.run(ops / writers) })
		case i < writers+registered:
			reading.Go(func() { tt.readRegistered(rng) })
		default:
			reading.Go(func() { tt.readInSections(rng) })
		}
	}
	writing.Wait()
	tt.stop.Store(true)
	reading.Wait()
	tt.report()
}

func (tt *torture) report() {
	var seen [stages]uint64
	for i := range seen {
		seen[i] = tt.seen[i].Load()
	}
	st := tt.cache.Stats()
	tt.t.Logf("stages seen %v; FreeRCU by sheaf %d, refused %d; %+v; %+v", seen,
		st.Events[slub.FreeRCUSheaf], st.Events[slub.FreeRCUSheafFail], st.RCUQueue, tt.domain.Stats())
}

func TestTortureFreeRCU(t *testing.T) {
	seed := testutil.Seed(t)
	ops := testutil.Stress(t, 2_000_000)
	// With a constructor the free pointer lies outside the object.
	ctor := func(p unsafe.Pointer) { (*tortureObject)(p).life.Store(unborn) }
	for _, s := range []struct {
		name     string
		config   slub.Config
		topology arena.Config
		poor     bool
		percent  int
	}{
		{name: "sheaves", config: slub.Config{RCUDelay: time.Millisecond}, percent: 50},
		{name: "small sheaves", config: slub.Config{SheafCapacity: 4, BarnFull: 1, BarnEmpty: 1}, percent: 20},
		{name: "four nodes", topology: arena.Config{Topology: fakeNodes(t, 4)}, percent: 20},
		{name: "chains", config: slub.Config{Ctor: ctor, SheafCapacity: 8000, RCUDelay: time.Millisecond}, poor: true, percent: 10},
	} {
		t.Run(s.name, func(t *testing.T) {
			(&torture{poor: s.poor}).run(t, s.config, s.topology, ops/100*s.percent, seed)
		})
	}
}

// A shorter run with each engine.
func TestTortureFreeRCUOtherEngines(t *testing.T) {
	for _, engine := range []string{"trylock", "rseq"} {
		t.Run(engine, func(t *testing.T) {
			out, isChild, err := testutil.Rerun(t, "SLUBD_ENGINE="+engine)
			switch {
			case isChild:
				name, reason := slub.Engine()
				testutil.NeedEngine(t, engine, name, reason)
				new(torture).run(t, slub.Config{}, arena.Config{}, testutil.Stress(t, 100_000), testutil.Seed(t))
			case err != nil:
				t.Errorf("%v\n%s", err, out)
			case !strings.Contains(out, "--- PASS: "+t.Name()):
				testutil.NeedHost(t, "rseq(2)", "linux-image-amd64", errors.New(out))
			}
		})
	}
}
