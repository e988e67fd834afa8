package slub_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// racedConfigs are the caches that TestCloseRacesAlloc closes while they are used.
var racedConfigs = []slub.Config{
	{Size: 64, RCUDelay: time.Millisecond},
	{Size: 2000, BarnFull: 1, BarnEmpty: 1},
	{Size: 1024, Flags: slub.NoSheaves},
	{Size: 512, Flags: slub.TypesafeByRCU},
	{Size: 96, SheafCapacity: 1, RCUDelay: time.Millisecond},
}

// An Alloc that races with Close is a bug of the caller, but loses nothing: it returns ErrClosed,
// or an object that Close has counted. When all objects are freed, no page is in use.
func TestCloseRacesAlloc(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * runtime.NumCPU()))
	seed := testutil.Seed(t)
	a := newArena(t, arena.Config{})
	d := new(rcu.Domain)
	late := 0
	for round := range testutil.Stress(t, 60_000) / 800 {
		cfg := racedConfigs[round%len(racedConfigs)]
		cfg.Domain = d
		c, err := slub.New(a, cfg)
		if err != nil {
			t.Fatal(err)
		}
		u := &closeRace{t: t, most: 100, alloc: c.Alloc, free: c.Free, freeRCU: c.FreeRCU, rng: rand.New(rand.NewPCG(seed, uint64(round)))}
		u.more = []func(unsafe.Pointer){c.FreeDeferred, c.FreeRCUNoWait, func(p unsafe.Pointer) { c.FreeBulk([]unsafe.Pointer{p}) }}
		if c.Stats().SheafCapacity > 0 {
			u.prefill = func() {
				if p, err := c.Prefill(3); err == nil {
					obj := p.Alloc()
					p.Return()
					c.Free(obj)
				}
			}
		}
		late += u.run(c.Close)
		if used := usedBytes(t, a, d); used != 0 {
			t.Fatalf("round %d, objects of %d bytes: %d bytes are used and have no owner", round, cfg.Size, used)
		}
	}
	t.Logf("%d users got ErrClosed", late)
}

// An allocation whose cache is closed while it makes a slab gives the slab back.
func TestCloseDuringNewSlab(t *testing.T) {
	for name, way := range map[string]func(*slub.Cache) error{
		"Alloc":     func(c *slub.Cache) error { _, err := c.Alloc(); return err },
		"AllocBulk": func(c *slub.Cache) error { return c.AllocBulk(make([]unsafe.Pointer, 3)) },
		"Prefill":   func(c *slub.Cache) error { _, err := c.Prefill(3); return err },
	} {
		for _, flags := range []slub.Flags{0, slub.NoSheaves} {
			if name == "Prefill" && flags == slub.NoSheaves {
				continue
			}
			t.Run(fmt.Sprint(name, ", flags ", flags), func(t *testing.T) {
				a := newArena(t, arena.Config{})
				var c *slub.Cache
				var busy error
				var once sync.Once
				c = open(t, a, slub.Config{Size: 64, Flags: flags, Hooks: hooks.Hooks{NewSlab: func(hooks.Slab) {
					once.Do(func() { apart(func() { busy = c.Close() }) }) // a hook itself must not
				}}})
				same(t, name, way(c), slub.ErrClosed)
				same(t, "Close in between", busy, slub.ErrBusy)
				c.SetMinPartial(9)
				same(t, "Close", c.Close(), nil)
				if n := usedBytes(t, a, c.Domain()); n != 0 {
					t.Errorf("%d bytes are used", n)
				}
			})
		}
	}
}

// TestCloseRacesAlloc for Buckets, with page runs and mappings.
func TestBucketsCloseRacesAlloc(t *testing.T) {
	seed := testutil.Seed(t)
	a := newArena(t, arena.Config{})
	d := new(rcu.Domain)
	late := 0
	rounds, sizes := testutil.Stress(t, 60_000)/4000, []int{100, 3000, 40_000, 100_000, maxRun + 1}
	if sanitized { // a mapping takes a thousand times as long as the others
		rounds = (rounds + 2) / 3
		sizes = append(slices.Repeat(sizes[:4], 5), sizes[4])
	}
	for round := range rounds {
		b, err := slub.NewBuckets(a, slub.BucketsConfig{Domain: d})
		if err != nil {
			t.Fatal(err)
		}
		if round%2 == 0 { // in the other rounds, caches of sizes above 32 KiB are made meanwhile
			b.FreeBulk([]unsafe.Pointer{malloc(t, b, sizes[2]), malloc(t, b, sizes[3])})
		}
		var next atomic.Int64
		alloc := func() (unsafe.Pointer, error) { return b.Malloc(sizes[int(next.Add(1))%len(sizes)]) }
		u := &closeRace{t: t, most: 10, alloc: alloc, free: b.Free, freeRCU: b.FreeRCU, rng: rand.New(rand.NewPCG(seed, uint64(round)))}
		u.more = []func(unsafe.Pointer){b.FreeRCUNoWait}
		late += u.run(b.Close)
		if used := usedBytes(t, a, d); used != 0 || a.Stats().Mapped != 0 {
			t.Fatalf("round %d: %d bytes are used and have no owner, %d mapped", round, used, a.Stats().Mapped)
		}
	}
	t.Logf("%d users got ErrClosed", late)
}

// A closeRace has users that allocate and free while their allocator is closed.
type closeRace struct {
	t       *testing.T
	most    int // objects that a user holds
	alloc   func() (unsafe.Pointer, error)
	free    func(unsafe.Pointer)
	freeRCU func(unsafe.Pointer)
	more    []func(unsafe.Pointer)
	prefill func()
	rng     *rand.Rand
	out     atomic.Int64 // objects that users hold
	closed  atomic.Bool  // Close has found nothing in use
}

// run starts the users, closes the allocator meanwhile, and again when all objects are freed. It
// returns how many users got ErrClosed.
func (u *closeRace) run(close func() error) (late int) {
	const users = 4
	var seen atomic.Int64
	var over atomic.Bool
	var working sync.WaitGroup
	for user := range uint64(users) {
		rng := rand.New(rand.NewPCG(u.rng.Uint64(), user))
		working.Go(func() {
			if u.work(rng, &over) {
				seen.Add(1)
			}
		})
	}
	time.Sleep(time.Duration(u.rng.IntN(200)) * time.Microsecond)
	err := close()
	if u.closed.Store(err == nil); err != nil && !errors.Is(err, slub.ErrBusy) {
		u.t.Errorf("Close: %v", err)
	}
	over.Store(true)
	working.Wait()
	if n := u.out.Load(); n != 0 {
		u.t.Errorf("%d objects are out", n)
	}
	if err := close(); err != nil {
		u.t.Errorf("Close when all is back: %v", err)
	}
	return int(seen.Load())
}

func (u *closeRace) work(rng *rand.Rand, over *atomic.Bool) (late bool) {
	var held []unsafe.Pointer
	for !late && !over.Load() {
		switch p, err := u.alloc(); {
		case err == nil:
			u.out.Add(1)
			held = append(held, p)
		case errors.Is(err, slub.ErrClosed):
			late = true
		case !errors.Is(err, slub.ErrNoMemory):
			u.t.Error(err)
			late = true
		}
		if u.prefill != nil && rng.IntN(16) == 0 {
			u.prefill()
		}
		for len(held) > rng.IntN(u.most) {
			held = u.giveBack(rng, held)
		}
	}
	for len(held) > 0 {
		held = u.giveBack(rng, held)
	}
	return late
}

// giveBack frees one of the objects held, in a random way.
func (u *closeRace) giveBack(rng *rand.Rand, held []unsafe.Pointer) []unsafe.Pointer {
	i, last := rng.IntN(len(held)), len(held)-1
	p := held[i]
	held[i] = held[last]
	if u.out.Add(-1); u.closed.Load() {
		u.t.Error("Close has not seen an object in use")
	}
	switch k := rng.IntN(4); {
	case k == 0:
		u.freeRCU(p)
	case k == 1:
		u.more[rng.IntN(len(u.more))](p)
	default:
		u.free(p)
	}
	return held[:last]
}
