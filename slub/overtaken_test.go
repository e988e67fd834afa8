package slub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
)

// overtakable are the caches that TestOvertaken closes under their users.
var overtakable = []Config{
	{Size: 64, RCUDelay: time.Millisecond},
	{Size: 2000, BarnFull: 1, BarnEmpty: 1},
	{Size: 1024, Flags: NoSheaves},
	{Size: 512, Flags: TypesafeByRCU},
	{Size: 96, SheafCapacity: 1, RCUDelay: time.Millisecond},
}

// Close while others still allocate is against the rules, and loses nothing for all that:
// who is overtaken gets ErrClosed, or an object that Close has counted, and once everybody
// has given back what he got, no page is used.
func TestOvertaken(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * runtime.NumCPU()))
	seed := testutil.Seed(t)
	a := newArena(t, arena.Config{})
	d := new(rcu.Domain)
	late := 0
	for round := range testutil.Stress(t, 60_000) / 800 {
		cfg := overtakable[round%len(overtakable)]
		cfg.Domain = d
		c, err := New(a, cfg)
		if err != nil {
			t.Fatal(err)
		}
		u := &overtaken{t: t, most: 100, alloc: c.Alloc, free: c.Free, freeRCU: c.FreeRCU, rng: rand.New(rand.NewPCG(seed, uint64(round)))}
		u.more = []func(unsafe.Pointer){c.FreeDeferred, c.FreeRCUNoWait, func(p unsafe.Pointer) { c.FreeBulk([]unsafe.Pointer{p}) }}
		if c.sheaves != nil {
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
			t.Fatalf("round %d, objects of %d bytes: %d bytes are used by nobody", round, cfg.Size, used)
		}
	}
	t.Logf("%d users were overtaken", late)
}

// An allocation that Close overtakes while it makes a slab gives that back.
func TestOvertakenAllocation(t *testing.T) {
	for name, way := range map[string]func(*Cache) error{
		"Alloc":     func(c *Cache) error { _, err := c.Alloc(); return err },
		"AllocBulk": func(c *Cache) error { return c.AllocBulk(make([]unsafe.Pointer, 3)) },
		"Prefill":   func(c *Cache) error { _, err := c.Prefill(3); return err },
	} {
		for _, flags := range []Flags{0, NoSheaves} {
			if name == "Prefill" && flags == NoSheaves {
				continue
			}
			t.Run(fmt.Sprint(name, ", flags ", flags), func(t *testing.T) {
				a := newArena(t, arena.Config{})
				var c *Cache
				var busy error
				var once sync.Once
				c = open(t, a, Config{Size: 64, Flags: flags, Hooks: hooks.Hooks{NewSlab: func(hooks.Slab) {
					once.Do(func() { busy = c.Close() })
				}}})
				same(t, name, way(c), ErrClosed)
				same(t, "Close in between", busy, ErrBusy)
				c.SetMinPartial(9)
				same(t, "Close", c.Close(), nil)
				if n := usedBytes(t, a, c.domain); n != 0 {
					t.Errorf("%d bytes are used", n)
				}
			})
		}
	}
}

// One that Close doesn't even see, as it has no slab yet, leaves none behind either.
func TestClosedCacheKeepsNoSlab(t *testing.T) {
	for _, tuned := range []bool{false, true} {
		a := newArena(t, arena.Config{})
		c := open(t, a, Config{Size: 64})
		same(t, "Close", c.Close(), nil)
		if tuned {
			c.SetMinPartial(9)
		}
		objs := make([]unsafe.Pointer, 3)
		if n, err := c.slabs.take(0, objs, false); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		c.slabs.freeBulk(objs)
		if n := usedBytes(t, a, c.domain); n != 0 {
			t.Errorf("%d bytes are used, SetMinPartial called: %t", n, tuned)
		}
	}
}

// A large object that Close overtakes while its pages are being found goes back.
func TestOvertakenLarge(t *testing.T) {
	a := newArena(t, arena.Config{})
	b := openBuckets(t, a, BucketsConfig{})
	b.large.mu.Lock() // stops it with the mapping in hand
	got := make(chan error)
	go func() {
		_, err := b.Malloc(kinds["mapping"])
		got <- err
	}()
	within(t, "the mapping", func() bool { return a.Stats().Mapped > 0 })
	b.closed.Store(true)
	b.large.mu.Unlock()
	same(t, "Malloc", <-got, ErrClosed)
	if s := a.Stats(); s.Mapped != 0 || b.large.inUse.Load() != 0 || b.large.bytes.Load() != 0 {
		t.Errorf("%d bytes are mapped, %d objects in use", s.Mapped, b.large.inUse.Load())
	}
}

// The same as TestOvertaken for Buckets, with page runs and mappings.
func TestBucketsOvertaken(t *testing.T) {
	seed := testutil.Seed(t)
	a := newArena(t, arena.Config{})
	d := new(rcu.Domain)
	late := 0
	for round := range testutil.Stress(t, 60_000) / 4000 {
		b, err := NewBuckets(a, BucketsConfig{Domain: d})
		if err != nil {
			t.Fatal(err)
		}
		var next atomic.Int64
		sizes := []int{100, 3000, 40_000, 100_000, maxRun + 1}
		alloc := func() (unsafe.Pointer, error) { return b.Malloc(sizes[int(next.Add(1))%len(sizes)]) }
		u := &overtaken{t: t, most: 10, alloc: alloc, free: b.Free, freeRCU: b.FreeRCU, rng: rand.New(rand.NewPCG(seed, uint64(round)))}
		u.more = []func(unsafe.Pointer){b.FreeRCUNoWait}
		late += u.run(b.Close)
		if used := usedBytes(t, a, d); used != 0 || a.Stats().Mapped != 0 {
			t.Fatalf("round %d: %d bytes are used by nobody, %d mapped", round, used, a.Stats().Mapped)
		}
	}
	t.Logf("%d users were overtaken", late)
}

// usedBytes waits for what slabs of TypesafeByRCU wait for.
func usedBytes(t *testing.T, a *arena.Arena, d *rcu.Domain) (n uint64) {
	t.Helper()
	same(t, "Barrier", d.Barrier(context.Background()), nil)
	for _, node := range a.Stats().Nodes {
		n += node.Used
	}
	return n
}

// overtaken are users that go on while their allocator is closed.
type overtaken struct {
	t       *testing.T
	most    int // objects that a user holds
	alloc   func() (unsafe.Pointer, error)
	free    func(unsafe.Pointer)
	freeRCU func(unsafe.Pointer)
	more    []func(unsafe.Pointer)
	prefill func()
	rng     *rand.Rand
	out     atomic.Int64 // objects in users' hands
	closed  atomic.Bool  // Close has found nothing in use
}

// run closes in the middle of it, and once more when all is back, and returns how many
// users saw ErrClosed.
func (u *overtaken) run(close func() error) (late int) {
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
	if u.closed.Store(err == nil); err != nil && !errors.Is(err, ErrBusy) {
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

func (u *overtaken) work(rng *rand.Rand, over *atomic.Bool) (late bool) {
	var held []unsafe.Pointer
	for !late && !over.Load() {
		switch p, err := u.alloc(); {
		case err == nil:
			u.out.Add(1)
			held = append(held, p)
		case errors.Is(err, ErrClosed):
			late = true
		case !errors.Is(err, ErrNoMemory):
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

// giveBack ends the life of one of those held.
func (u *overtaken) giveBack(rng *rand.Rand, held []unsafe.Pointer) []unsafe.Pointer {
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
