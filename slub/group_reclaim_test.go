package slub_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// TestKeptMemoryOfGroupIsFound: when all objects of a full group are free, whichever of its caches
// has them and however they were freed, each way of allocating as much succeeds. At the parent's
// limit the same holds for the caches of the parent and of other children. Caches outside are left
// alone, and so is the arena.
func TestKeptMemoryOfGroupIsFound(t *testing.T) {
	const limit = 2 * mib
	ctx := context.Background()
	free := map[string]func(*testing.T, *slub.Cache, []unsafe.Pointer){
		"Free":         func(_ *testing.T, c *slub.Cache, ps []unsafe.Pointer) { freeAllBy(c.Free, ps) },
		"FreeDeferred": func(_ *testing.T, c *slub.Cache, ps []unsafe.Pointer) { freeAllBy(c.FreeDeferred, ps) },
		"FreeRCU": func(t *testing.T, c *slub.Cache, ps []unsafe.Pointer) {
			freeAllBy(c.FreeRCUNoWait, ps)
			startWaiting(c)
			if err := c.Domain().Synchronize(ctx); err != nil {
				t.Fatal(err)
			}
		},
	}
	alloc := map[string]func(b func() *slub.Buckets, c *slub.Cache) error{
		"Alloc": func(_ func() *slub.Buckets, c *slub.Cache) error { return oneOf(c.Alloc()).FreeTo(c.Free) },
		"AllocNode": func(_ func() *slub.Buckets, c *slub.Cache) error {
			return oneOf(c.AllocNode(c.Arena().Topology().Nodes()[0])).FreeTo(c.Free)
		},
		"AllocBulk": func(_ func() *slub.Buckets, c *slub.Cache) error {
			ps := make([]unsafe.Pointer, limit/2048*9/10)
			err := c.AllocBulk(ps)
			c.FreeBulk(ps)
			return err
		},
		"Prefill": func(_ func() *slub.Buckets, c *slub.Cache) error {
			p, err := c.Prefill(limit / 2048 * 9 / 10)
			if err == nil {
				p.Return()
			}
			return err
		},
		"Refill": func(_ func() *slub.Buckets, c *slub.Cache) error {
			p, err := c.Prefill(1)
			if err == nil {
				err = p.Refill(limit / 2048 * 9 / 10)
				p.Return()
			}
			return err
		},
		"a class": func(b func() *slub.Buckets, _ *slub.Cache) error { return oneOf(b().Malloc(9000)).FreeTo(b().Free) },
		"a run":   func(b func() *slub.Buckets, _ *slub.Cache) error { return oneOf(b().Malloc(mib)).FreeTo(b().Free) },
	}
	// The caches that have the objects, and the group whose limit is reached.
	for where, level := range map[string]string{"own": "child", "beside": "child", "in the parent": "parent", "in another child": "parent"} {
		for how, free := range free {
			for what, alloc := range alloc {
				t.Run(where+", "+how+", "+what, func(t *testing.T) {
					a := newArena(t, arena.Config{})
					parent := newGroup(t, slub.GroupConfig{Name: "parent"})
					child := newGroup(t, slub.GroupConfig{Name: "child", Parent: parent})
					other := newGroup(t, slub.GroupConfig{Name: "other", Parent: parent})
					full := map[string]*slub.Group{"child": child, "parent": parent}[level]
					full.SetLimit(limit)
					d := new(rcu.Domain)
					cfg := slub.Config{Size: 2048, Domain: d, RCUHardLimit: slub.Unlimited, RCUSoftLimit: slub.Unlimited, RCUDelay: time.Hour}
					outside := open(t, a, cfg)
					outside.FreeBulk(take(t, outside, 100))
					cfg.Group = child
					c := open(t, a, cfg)
					b := sync.OnceValue(func() *slub.Buckets { return openBuckets(t, a, slub.BucketsConfig{Domain: d, Group: child}) })
					cfg.Size, cfg.Group = 1024, map[string]*slub.Group{"in the parent": parent, "in another child": other}[where]
					if cfg.Group == nil {
						cfg.Group = child
					}
					filler := open(t, a, cfg)
					if where == "own" {
						filler = c
					}
					ps := fillArena(t, filler)
					if err := alloc(b, c); !errors.Is(err, slub.ErrGroupLimit) {
						t.Fatalf("with nothing free: %v", err)
					}
					free(t, filler, ps)
					kept := outside.Stats()
					if err := alloc(b, c); err != nil {
						t.Errorf("with everything free: %v", err)
					}
					now := outside.Stats()
					if now.SheafObjects != kept.SheafObjects || now.Nodes[0].Slabs != kept.Nodes[0].Slabs {
						t.Error("a cache outside has given something back")
					}
					if n := a.Stats().Reclaim.Rounds; n != 0 {
						t.Errorf("%d rounds of the arena", n)
					}
				})
			}
		}
	}
}

// TestFailureOfGroupIsCheapTheSecondTime: a failure with nothing kept takes no stack's lock and
// gives nothing back, and one that can't succeed starts no round.
func TestFailureOfGroupIsCheapTheSecondTime(t *testing.T) {
	a := newArena(t, arena.Config{})
	parent := newGroup(t, slub.GroupConfig{})
	g := newGroup(t, slub.GroupConfig{Limit: mib, Parent: parent})
	c := open(t, a, slub.Config{Size: 64, Domain: new(rcu.Domain), Group: g})
	b := openBuckets(t, a, slub.BucketsConfig{Domain: new(rcu.Domain), Group: g})
	ps := fillArena(t, c)
	before, held := g.Stats(), stackHolds(c)
	for range 100 {
		if _, err := c.Alloc(); !errors.Is(err, slub.ErrGroupLimit) {
			t.Fatal(err)
		}
	}
	after := g.Stats()
	if after.Objects != before.Objects || after.Rounds != before.Rounds+100 || after.Helped != before.Helped || after.Failures != before.Failures+100 {
		t.Errorf("%+v became %+v", before, after)
	}
	// Alloc itself takes the calling CPU's lock, to look for a spare.
	if n := stackHolds(c) - held; n > 300 {
		t.Errorf("100 failures have taken %d locks of stacks", n)
	}
	if _, err := b.Malloc(2 * mib); !errors.Is(err, slub.ErrGroupLimit) {
		t.Error(err)
	}
	if now := g.Stats(); now.Rounds != after.Rounds || parent.Stats().Rounds != 0 {
		t.Errorf("what exceeds the limit has started %d rounds", now.Rounds-after.Rounds)
	}
	freeAllBy(c.Free, ps)
}

// TestAllocNoWaitStartsNoGroupRound: AllocNoWait says that it would block while objects are kept.
func TestAllocNoWaitStartsNoGroupRound(t *testing.T) {
	a := newArena(t, arena.Config{})
	g := newGroup(t, slub.GroupConfig{Limit: mib})
	c := open(t, a, slub.Config{Size: 64, Group: g})
	other := open(t, a, slub.Config{Size: 128, Group: g})
	freeAllBy(other.Free, fillArena(t, other))
	before := g.Stats()
	if _, err := c.AllocNoWait(); !errors.Is(err, slub.ErrWouldBlock) {
		t.Error(err)
	}
	if after := g.Stats(); after != before {
		t.Errorf("%+v became %+v", before, after)
	}
}

// TestSetLimitGivesBack: a limit below what is charged has the group's caches give back what they
// keep, and leaves what is in use.
func TestSetLimitGivesBack(t *testing.T) {
	a := newArena(t, arena.Config{})
	parent := newGroup(t, slub.GroupConfig{})
	g := newGroup(t, slub.GroupConfig{Parent: parent})
	c := open(t, a, slub.Config{Size: 1024, Group: g})
	own := open(t, a, slub.Config{Size: 512, Group: parent})
	kept, used := take(t, c, 1000), take(t, own, 100)
	freeAllBy(c.Free, kept)
	before := parent.Stats().Bytes
	parent.SetLimit(mem.PageSize)
	if s := parent.Stats(); s.Bytes >= before/2 || s.Bytes < 100*512 || g.Stats().Bytes != 0 {
		t.Errorf("%d bytes have become %d, %d of the child", before, s.Bytes, g.Stats().Bytes)
	}
	if _, err := c.Alloc(); !errors.Is(err, slub.ErrGroupLimit) {
		t.Error(err)
	}
	freeAllBy(own.Free, used)
}
