package slub_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/sheaves"
	"github.com/slubd/slubd/slub"
)

// TestKeptMemoryIsFound: when all objects of a full arena are free, however they were freed and
// wherever they are kept, each way of allocating as much succeeds. No timer reclaims meanwhile:
// what another goroutine has in hand is not kept, and not waited for.
func TestKeptMemoryIsFound(t *testing.T) {
	ctx := context.Background()
	free := map[string]func(*testing.T, *slub.Cache, []unsafe.Pointer){
		"Free":         func(_ *testing.T, c *slub.Cache, ps []unsafe.Pointer) { freeAllBy(c.Free, ps) },
		"FreeBulk":     func(_ *testing.T, c *slub.Cache, ps []unsafe.Pointer) { c.FreeBulk(ps) },
		"FreeDeferred": func(_ *testing.T, c *slub.Cache, ps []unsafe.Pointer) { freeAllBy(c.FreeDeferred, ps) },
		"FreeRCU": func(t *testing.T, c *slub.Cache, ps []unsafe.Pointer) {
			freeAllBy(c.FreeRCUNoWait, ps)
			startWaiting(c)
			if err := c.Domain().Synchronize(ctx); err != nil {
				t.Fatal(err)
			}
		},
	}
	if cpus, err := numa.Affinity(); err == nil && len(cpus) > 1 {
		free["on another CPU"] = func(t *testing.T, c *slub.Cache, ps []unsafe.Pointer) {
			if err := sheaves.RunPinned(cpus[1:2], func() { freeAllBy(c.Free, ps) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	const limit = 4 * mib
	alloc := map[string]func(b func() *slub.Buckets, c, other *slub.Cache) error{
		"Alloc": func(_ func() *slub.Buckets, c, _ *slub.Cache) error { return oneOf(c.Alloc()).FreeTo(c.Free) },
		"AllocNode": func(_ func() *slub.Buckets, c, _ *slub.Cache) error {
			return oneOf(c.AllocNode(c.Arena().Topology().Nodes()[0])).FreeTo(c.Free)
		},
		"AllocBulk": func(_ func() *slub.Buckets, c, _ *slub.Cache) error {
			ps := make([]unsafe.Pointer, limit/1024*9/10)
			err := c.AllocBulk(ps)
			c.FreeBulk(ps)
			return err
		},
		"Prefill": func(_ func() *slub.Buckets, c, _ *slub.Cache) error {
			p, err := c.Prefill(limit / 1024 * 9 / 10)
			if err == nil {
				p.Return()
			}
			return err
		},
		"Refill": func(_ func() *slub.Buckets, c, _ *slub.Cache) error {
			p, err := c.Prefill(1)
			if err == nil {
				err = p.Refill(limit / 1024 * 9 / 10)
				p.Return()
			}
			return err
		},
		"another cache": func(_ func() *slub.Buckets, _, other *slub.Cache) error {
			return oneOf(other.Alloc()).FreeTo(other.Free)
		},
		"a class": func(b func() *slub.Buckets, _, _ *slub.Cache) error { return oneOf(b().Malloc(9000)).FreeTo(b().Free) },
		"a run": func(b func() *slub.Buckets, _, _ *slub.Cache) error {
			return oneOf(b().Malloc(2 * mib)).FreeTo(b().Free)
		},
		"a mapping, nearly all": func(b func() *slub.Buckets, _, _ *slub.Cache) error {
			return oneOf(b().MallocZero(limit*9/10 + maxRun)).FreeTo(b().Free)
		},
		"AllocNode, other cache": func(_ func() *slub.Buckets, _, other *slub.Cache) error {
			return oneOf(other.AllocNode(other.Arena().Topology().Nodes()[0])).FreeTo(other.Free)
		},
	}
	for how, free := range free {
		for what, alloc := range alloc {
			t.Run(how+", "+what, func(t *testing.T) {
				a := newArena(t, arena.Config{Span: 16 * mib, Limit: limit + maxRun})
				d := new(rcu.Domain)
				c := open(t, a, slub.Config{Size: 1024, Domain: d, RCUHardLimit: slub.Unlimited, RCUSoftLimit: slub.Unlimited,
					RCUDelay: time.Hour})
				other := open(t, a, slub.Config{Size: 4096, Domain: d})
				b := sync.OnceValue(func() *slub.Buckets { return openBuckets(t, a, slub.BucketsConfig{Domain: d}) })
				ps := fillArena(t, c)
				if err := alloc(b, c, other); !errors.Is(err, slub.ErrNoMemory) {
					t.Fatalf("with nothing free: %v", err)
				}
				free(t, c, ps)
				if err := alloc(b, c, other); err != nil {
					t.Errorf("with everything free: %v", err)
				}
			})
		}
	}
}

// TestFailedAllocIsCheapTheSecondTime: a failure with nothing kept takes no stack's lock and gives
// nothing back, and one that can't succeed starts no round.
func TestFailedAllocIsCheapTheSecondTime(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 1 * mib})
	c := open(t, a, slub.Config{Size: 64, Domain: new(rcu.Domain)})
	b := openBuckets(t, a, slub.BucketsConfig{Domain: new(rcu.Domain)})
	ps := fillArena(t, c)
	before, held := a.Stats().Reclaim, stackHolds(c)
	for range 100 {
		if _, err := c.AllocNode(numa.NoNode); !errors.Is(err, slub.ErrNoMemory) {
			t.Fatal(err)
		}
	}
	after := a.Stats().Reclaim
	if after.Objects != before.Objects || after.Rounds != before.Rounds+100 || after.Helped != before.Helped {
		t.Errorf("%+v became %+v", before, after)
	}
	// Alloc itself takes the calling CPU's lock, to look for a spare.
	if n := stackHolds(c) - held; n > 300 {
		t.Errorf("100 failures have taken %d locks of stacks", n)
	}
	if _, err := b.Malloc(2 * mib); !errors.Is(err, slub.ErrNoMemory) {
		t.Error(err)
	}
	if _, err := c.Prefill(1 << 20); !errors.Is(err, slub.ErrNoMemory) {
		t.Error(err)
	}
	if now := a.Stats().Reclaim; now.Rounds != after.Rounds {
		t.Errorf("what exceeds the limit has started %d rounds", now.Rounds-after.Rounds)
	}
	freeAllBy(c.Free, ps)
}

// TestAllocNoWaitStartsNoRound: AllocNoWait says that it would block while objects are kept.
func TestAllocNoWaitStartsNoRound(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 1 * mib})
	c := open(t, a, slub.Config{Size: 64, Domain: new(rcu.Domain)})
	other := open(t, a, slub.Config{Size: 128, Domain: new(rcu.Domain)})
	freeAllBy(other.Free, fillArena(t, other))
	before := a.Stats().Reclaim
	for {
		p, err := c.AllocNoWait()
		if err != nil {
			if !errors.Is(err, slub.ErrWouldBlock) {
				t.Error(err)
			}
			break
		}
		defer c.Free(p)
	}
	if after := a.Stats().Reclaim; after.Rounds != before.Rounds {
		t.Errorf("%d rounds", after.Rounds-before.Rounds)
	}
}

// TestRoundMeetsClose: caches that come and go lose nothing to rounds that go over them.
func TestRoundMeetsClose(t *testing.T) {
	a := newArena(t, arena.Config{Limit: 2 * mib})
	c := open(t, a, slub.Config{Size: 64, Domain: new(rcu.Domain)})
	ps := fillArena(t, c)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
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
	}()
	freeAllBy(c.Free, ps[:len(ps)/2])
	for range 300 {
		other, err := slub.New(a, slub.Config{Size: 512, Domain: c.Domain()})
		if err != nil {
			t.Fatal(err)
		}
		objs := make([]unsafe.Pointer, 100)
		if err := other.AllocBulk(objs); err != nil && !errors.Is(err, slub.ErrNoMemory) {
			t.Error(err)
		}
		freeAllBy(other.Free, objs)
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
	freeAllBy(c.Free, ps[len(ps)/2:])
}
