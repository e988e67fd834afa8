package slub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
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
)

// This is rcu's torture test with objects of a cache in the place of elements, and
// FreeRCU as what ends their lives: the destructor poisons them, so that a reader
// whose grace period has ended early finds poison, or another object's content. What
// FreeRCU was given before Barrier must be destroyed when it returns.

// specimen is such an object. All but life is plain memory, as users' objects are.
type specimen struct {
	life  atomic.Uint32 // stage
	owner uint32        // the writer that published it
	words [6]uint64     // all the same; the free pointer lies in here
}

// stage is where a specimen is in its life, in this order.
type stage = uint32

const (
	unborn    stage = iota // memory that was never used, or was given to Free
	published              // readers may find it
	removed                // readers may hold it
	destroyed              // nobody may
	stages
)

const poison = 0xdead_dead_dead_dead

type torture struct {
	t      *testing.T
	cache  *Cache
	domain *rcu.Domain
	slots  [16]atomic.Pointer[specimen] // where readers look
	seen   [stages]atomic.Uint64        // in which stage readers had them
	died   []atomic.Int64               // destroyed, by owner
	poor   bool                         // there is no memory for sheaves and blocks

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
	s := (*specimen)(p)
	for i := range s.words {
		s.words[i] = poison
	}
	if was := s.life.Swap(destroyed); was != removed {
		tt.failf("%p was destroyed in stage %d", p, was)
		return
	}
	tt.died[s.owner].Add(1)
}

// breeder is a writer: it publishes specimens in the place of others, which FreeRCU
// is given.
type breeder struct {
	*torture
	number uint32
	rng    *rand.Rand
	stamp  uint64
	freed  int64 // given to FreeRCU
}

func (b *breeder) run(ops int) {
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

// exchange publishes one specimen and retires another. Now and then the new one is
// given up instead, by Free: that is how the objects of expired sheaves get about.
func (b *breeder) exchange() {
	p, err := b.cache.Alloc()
	if err != nil {
		b.barrier() // memory that waits for grace periods
		return
	}
	s := (*specimen)(p)
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

// retire gives a specimen to FreeRCU, as its owner: the Barrier of that writer is the
// one that must wait for it.
func (b *breeder) retire(s *specimen) {
	if s == nil {
		return
	}
	s.owner = b.number
	s.life.Store(removed)
	b.freed++
	b.cache.FreeRCU(unsafe.Pointer(s))
}

// barrier checks that Barrier waits for all that the breeder gave to FreeRCU.
func (b *breeder) barrier() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := b.cache.Barrier(ctx); err != nil {
		b.failf("Barrier: %v", err)
	} else if died := b.died[b.number].Load(); died != b.freed {
		b.failf("Barrier returned after %d destructions of %d", died, b.freed)
	}
}

// member reads as a registered reader, which goes offline now and then.
func (tt *torture) member(rng *rand.Rand) {
	r := tt.domain.Register("torture")
	defer func() { _ = r.Close() }()
	for !tt.stop.Load() {
		tt.read(rng)
		if r.Quiescent(); rng.IntN(16) == 0 {
			r.Offline()
			dawdle(rng)
			r.Online()
		}
	}
}

// visitor reads in sections.
func (tt *torture) visitor(rng *rand.Rand) {
	for !tt.stop.Load() {
		section := tt.domain.Enter()
		tt.read(rng)
		section.Exit()
	}
}

// read looks specimens up, keeps them for a while and looks at them again.
func (tt *torture) read(rng *rand.Rand) {
	var held [8]struct {
		s     *specimen
		stamp uint64
	}
	for i := range held {
		s := tt.slots[rng.IntN(len(tt.slots))].Load()
		if held[i].s = s; s != nil {
			held[i].stamp = s.words[0]
		}
	}
	dawdle(rng)
	for _, h := range held {
		if h.s != nil {
			tt.inspect(h.s, h.stamp)
		}
	}
}

// inspect notes the stage of a specimen that the caller is in a section with.
func (tt *torture) inspect(s *specimen, stamp uint64) {
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

// dawdle takes anything from no time to some milliseconds, mostly none.
func dawdle(rng *rand.Rand) {
	switch n := rng.IntN(1 << 14); {
	case n < 2:
		time.Sleep(time.Duration(rng.IntN(4)) * time.Millisecond)
	case n < 1<<6:
		time.Sleep(time.Duration(rng.IntN(20)) * time.Microsecond)
	case n < 1<<12:
		runtime.Gosched()
	}
}

func (tt *torture) run(t *testing.T, cfg Config, topology arena.Config, ops int, seed uint64) {
	const breeders, members, visitors = 4, 4, 4
	tt.t, tt.domain, tt.died = t, new(rcu.Domain), make([]atomic.Int64, breeders)
	cfg.Size, cfg.Domain, cfg.RCUDtor = unsafe.Sizeof(specimen{}), tt.domain, tt.destroy
	tt.cache = open(t, newArena(t, topology), cfg)
	if tt.poor { // what is mapped for the first sheaf has no room for a second of 8000
		defer sys.FailNth(sys.CallReserve, 0, syscall.ENOMEM)()
		for b := blocks.get(); b != nil; b = blocks.get() {
			defer blocks.put(b)
		}
	}
	defer testutil.Shuffle(t, seed)()

	var reading, breeding sync.WaitGroup
	for i := range breeders + members + visitors {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		switch {
		case i < breeders:
			b := &breeder{torture: tt, number: uint32(i), rng: rng, stamp: uint64(i+1) << 40}
			breeding.Go(func() { b.run(ops / breeders) })
		case i < breeders+members:
			reading.Go(func() { tt.member(rng) })
		default:
			reading.Go(func() { tt.visitor(rng) })
		}
	}
	breeding.Wait()
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
		st.Events[FreeRCUSheaf], st.Events[FreeRCUSheafFail], st.RCUQueue, tt.domain.Stats())
}

func TestTortureFreeRCU(t *testing.T) {
	seed := testutil.Seed(t)
	ops := testutil.Stress(t, 2_000_000)
	outside := func(p unsafe.Pointer) { (*specimen)(p).life.Store(unborn) } // with a constructor the free pointer is
	for _, s := range []struct {
		name     string
		config   Config
		topology arena.Config
		poor     bool
		percent  int
	}{
		{"sheaves", Config{RCUDelay: time.Millisecond}, arena.Config{}, false, 50},
		{"small sheaves", Config{SheafCapacity: 4, BarnFull: 1, BarnEmpty: 1}, arena.Config{}, false, 20},
		{"four nodes", Config{}, arena.Config{Topology: fakeNodes(t, 4)}, false, 20},
		{"chains", Config{Ctor: outside, SheafCapacity: 8000, RCUDelay: time.Millisecond}, arena.Config{}, true, 10},
	} {
		t.Run(s.name, func(t *testing.T) {
			(&torture{poor: s.poor}).run(t, s.config, s.topology, ops/100*s.percent, seed)
		})
	}
}

// The engines that this process didn't choose, in small.
func TestTortureFreeRCUOtherEngines(t *testing.T) {
	for _, engine := range []string{"trylock", "rseq"} {
		t.Run(engine, func(t *testing.T) {
			out, isChild, err := testutil.Rerun(t, "SLUBD_ENGINE="+engine)
			if isChild {
				new(torture).run(t, Config{}, arena.Config{}, testutil.Stress(t, 100_000), testutil.Seed(t))
				fmt.Println(Engine())
				return
			}
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
