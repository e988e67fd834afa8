package slub_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// Tenants of two levels allocate objects and values of all kinds across their limits, while a
// goroutine looks at every sum all the time: none ever exceeds its limit. When everything is free,
// all sums are zero.
func TestGroupStress(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	const tenants, workers = 3, 2
	rounds := 1000
	switch {
	case testutil.Instrumented:
		rounds = 100
	case testing.Short():
		rounds = 300
	}
	a := newArena(t, arena.Config{Span: 64 * mib})
	// The last tenant alone reaches this limit, the others reach their own: also on one CPU.
	all := newGroup(t, slub.GroupConfig{Name: "all", Limit: 5 * mib / 2})
	d := new(rcu.Domain)
	groups := []*slub.Group{all}
	var working, watching sync.WaitGroup
	var refused [2]atomic.Int64 // by the tenant, and by all
	for i := range tenants {
		g := newGroup(t, slub.GroupConfig{Name: fmt.Sprint("tenant-", i), Parent: all, Limit: int64(i+1) * mib})
		groups = append(groups, g)
		c := open(t, a, slub.Config{Size: 256, Domain: d, Group: g})
		typesafe := open(t, a, slub.Config{Size: 1000, Domain: d, Group: g, Flags: slub.TypesafeByRCU})
		b := openBuckets(t, a, slub.BucketsConfig{Domain: d, Group: g})
		for w := range workers {
			working.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), uint64(w)))
				tenantWork(t, r, rounds, g, c, typesafe, b, &refused)
			})
		}
	}
	stop := make(chan struct{})
	watching.Go(func() {
		for {
			for _, g := range groups {
				if used := groupUsed(g); used < 0 || used > g.Limit() {
					t.Errorf("%s: %d of %d bytes are charged", g.Name(), used, g.Limit())
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	working.Wait()
	close(stop)
	watching.Wait()
	if refused[0].Load() == 0 || refused[1].Load() == 0 {
		t.Errorf("%d allocations were refused by a tenant's limit, %d by the limit of all", refused[0].Load(), refused[1].Load())
	}
	if now := all.Stats(); now.Peak > now.Limit {
		t.Errorf("%+v", now)
	}
	// Timers and grace periods give slabs back meanwhile, between two readings or before one.
	within(t, "an equal sum of the tenants, their parent and the arena", func() bool {
		sum := int64(0)
		for _, g := range groups[1:] {
			sum += g.Stats().Bytes
		}
		return sum == all.Stats().Bytes && sum == a.InUse()
	})
}

// tenantWork allocates and frees in one group, more of the one or of the other for a while.
func tenantWork(t *testing.T, r *rand.Rand, rounds int, g *slub.Group, c, typesafe *slub.Cache, b *slub.Buckets, refused *[2]atomic.Int64) {
	type object struct {
		p    unsafe.Pointer
		free func(unsafe.Pointer)
	}
	var held []object
	defer func() {
		for _, o := range held {
			o.free(o.p)
		}
	}()
	got := func(p unsafe.Pointer, err error, frees ...func(unsafe.Pointer)) {
		var ge *slub.GroupError
		switch {
		case err == nil:
			held = append(held, object{p, frees[r.IntN(len(frees))]})
		case !errors.As(err, &ge) || ge.Group != g.Name():
			t.Errorf("%s: %v", g.Name(), err)
		case ge.Refused == g.Name():
			refused[0].Add(1)
		default:
			refused[1].Add(1)
		}
	}
	for i := range rounds {
		if i%100 > 60 { // free half of what there is
			for range len(held) / 20 {
				k := r.IntN(len(held))
				held[k].free(held[k].p)
				held[k] = held[len(held)-1]
				held = held[:len(held)-1]
			}
			continue
		}
		switch r.IntN(8) {
		case 0, 1:
			for range 50 {
				p, err := c.Alloc()
				got(p, err, c.Free, c.FreeRCUNoWait, c.FreeDeferred)
			}
		case 2, 3:
			for range 20 {
				p, err := typesafe.Alloc()
				got(p, err, typesafe.Free)
			}
		case 4:
			ps := make([]unsafe.Pointer, 40)
			err := c.AllocBulk(ps)
			for _, p := range ps {
				got(p, err, c.Free, c.FreeRCUNoWait)
			}
		case 5:
			for range 10 {
				p, err := b.Malloc(1 + r.IntN(maxClass))
				got(p, err, b.Free, b.FreeRCUNoWait, b.FreeDeferred)
			}
		case 6:
			p, err := b.Malloc(maxClass + r.IntN(mib))
			got(p, err, b.Free, b.FreeRCUNoWait, b.FreeDeferred)
		case 7:
			if p, err := c.Prefill(1 + r.IntN(200)); err == nil {
				p.Return()
			} else if !errors.Is(err, slub.ErrNoMemory) {
				t.Error(err)
			}
		}
	}
}

// Members come and go while their group is at its limit and rounds go over them, and so do groups.
func TestGroupRoundMeetsClose(t *testing.T) {
	a := newArena(t, arena.Config{})
	all := newGroup(t, slub.GroupConfig{Limit: 2 * mib})
	c := open(t, a, slub.Config{Size: 64, Group: all})
	ps := fillArena(t, c)
	stop := make(chan struct{})
	var working sync.WaitGroup
	working.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if p, err := c.Alloc(); err == nil {
					c.Free(p)
				}
			}
		}
	})
	freeAllBy(c.Free, ps[:len(ps)/2])
	for range 200 {
		g, err := slub.NewGroup(slub.GroupConfig{Parent: all})
		if err != nil {
			t.Fatal(err)
		}
		other, err := slub.New(a, slub.Config{Size: 512, Group: g})
		if err != nil {
			t.Fatal(err)
		}
		objs := make([]unsafe.Pointer, 100)
		if err := other.AllocBulk(objs); err != nil && !errors.Is(err, slub.ErrGroupLimit) {
			t.Error(err)
		}
		freeAllBy(other.Free, objs)
		if err := errors.Join(other.Close(), g.Close()); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	working.Wait()
	freeAllBy(c.Free, ps[len(ps)/2:])
}
