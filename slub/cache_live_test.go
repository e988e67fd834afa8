package slub_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// liveOf returns the addresses that Live yields, in their order.
func liveOf(c *slub.Cache) (addrs []uintptr) {
	for o := range c.Live() {
		addrs = append(addrs, o.Addr)
	}
	return addrs
}

// addrsOf returns the addresses of objects in their order.
func addrsOf(lists ...[]unsafe.Pointer) (addrs []uintptr) {
	for _, objs := range lists {
		for _, p := range objs {
			addrs = append(addrs, uintptr(p))
		}
	}
	slices.Sort(addrs)
	return addrs
}

// While nothing else runs Live yields the objects that are not free, whichever place the others are
// in: slabs, sheaves, barns, Locals. What waits for a grace period is not free.
func TestLive(t *testing.T) {
	withoutSamples(t) // it fills memory to a limit
	for name, cfg := range map[string]slub.Config{
		"plain": {Size: 64}, "no sheaves": {Size: 64, Flags: slub.NoSheaves}, "pages": {Size: 9000, Hardened: slub.None},
		"typesafe": {Size: 200, Flags: slub.TypesafeByRCU}, "sampled": {Size: 64, ProfileRate: 640},
		"shuffled": {Size: 24, Flags: slub.ShuffleFreelist}, "cleared": {Size: 64, Flags: slub.InitOnFree},
	} {
		t.Run(name, func(t *testing.T) {
			domain := new(rcu.Domain)
			cfg.Domain = domain
			a := newArena(t, arena.Config{})
			other := open(t, a, slub.Config{Name: "other", Size: 64})
			c := open(t, a, cfg)
			if got := liveOf(c); len(got) != 0 {
				t.Errorf("of a new cache, %d", len(got))
			}
			objs, others := take(t, c, 3000), take(t, other, 100)
			same := func(when string, lists ...[]unsafe.Pointer) {
				t.Helper()
				want, got := addrsOf(lists...), liveOf(c)
				if !slices.Equal(got, want) {
					t.Errorf("%s: Live yields %d objects, want %d", when, len(got), len(want))
				}
			}
			same("all in use", objs)
			rand.Shuffle(len(objs), func(i, k int) { objs[i], objs[k] = objs[k], objs[i] })
			for _, p := range objs[:1500] {
				c.Free(p)
			}
			objs = objs[1500:]
			same("half of them freed", objs)
			l := newLocal(t, c, 0)
			for _, p := range objs[:20] {
				l.Free(p)
			}
			objs = objs[20:]
			local := takeLocal(t, l, 5)
			if runtime.GOARCH == "amd64" {
				same("with a Local", objs, local)
			}
			l.Close()
			reader := domain.Enter()
			for _, p := range objs[:100] {
				c.FreeRCU(p)
			}
			same("with some that wait", objs, local)
			reader.Exit()
			if err := c.Barrier(t.Context()); err != nil {
				t.Fatal(err)
			}
			objs = objs[100:]
			same("after Barrier", objs, local)
			for o := range c.Live() {
				if o.Cache != c.Name() || o.Size != cfg.Size {
					t.Errorf("Live yields %+v", o)
				}
				break
			}
			for o := range c.Live() { // no lock is held
				at := func(p unsafe.Pointer) bool { return uintptr(p) == o.Addr }
				if i := slices.IndexFunc(objs, at); i >= 0 {
					c.Free(objs[i])
					objs = slices.Delete(objs, i, i+1)
				}
			}
			same("after frees in the loop", objs, local)
			c.FreeBulk(local)
			other.FreeBulk(others)
		})
	}
}

// An object in use is yielded once, whatever goes on beside.
func TestLiveBesideOthers(t *testing.T) {
	const kept, workers = 2000, 3
	c := open(t, newArena(t, arena.Config{}), slub.Config{Size: 64, ProfileRate: 6400})
	objs := take(t, c, 2*kept)
	var left []unsafe.Pointer
	for i, p := range objs { // so that most slabs have free objects
		if i%2 == 0 {
			left = append(left, p)
		} else {
			c.Free(p)
		}
	}
	stop := make(chan struct{})
	var working sync.WaitGroup
	for w := range workers {
		working.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-stop:
					return
				default:
				}
				ps := make([]unsafe.Pointer, 1+(round*37+w)%300)
				if err := c.AllocBulk(ps); err != nil {
					t.Error(err)
					return
				}
				for i, p := range ps {
					if i%2 == 0 {
						c.Free(p)
					} else {
						c.FreeRCU(p)
					}
				}
				if round%20 == 0 {
					c.Shrink()
				}
			}
		})
	}
	for range 30 {
		times := map[uintptr]int{}
		for o := range c.Live() {
			times[o.Addr]++
		}
		for _, p := range left {
			if n := times[uintptr(p)]; n != 1 {
				t.Fatalf("an object in use was yielded %d times", n)
			}
		}
	}
	close(stop)
	working.Wait()
	if err := c.Barrier(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := liveOf(c); !slices.Equal(got, addrsOf(left)) {
		t.Errorf("Live yields %d objects at the end, want %d", len(got), len(left))
	}
	c.FreeBulk(left)
}

// Live of Buckets has objects of all kinds, with the lines that allocated them.
func TestBucketsLive(t *testing.T) {
	withoutSamples(t) // a guarded object is no sample
	b, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "live", ProfileRate: everyObject})
	if err != nil {
		t.Fatal(err)
	}
	var objs []unsafe.Pointer
	for _, n := range []int{8, 100, 5000, 40 << 10, 2 << 20, 8 << 20} {
		objs = append(objs, must(t)(b.Malloc(n)))
		b.Free(must(t)(b.Malloc(n)))
	}
	var got []uintptr
	for o := range b.Live() {
		got = append(got, o.Addr)
		if s, ok := o.Sampled(); !ok || siteOf(s.Stack) != "TestBucketsLive" || s.Since.IsZero() || o.Size < 8 {
			t.Errorf("Live yields %+v, sampled: %v %+v", o, ok, s)
		}
	}
	slices.Sort(got)
	if want := addrsOf(objs); !slices.Equal(got, want) {
		t.Errorf("Live yields %#x, want %#x", got, want)
	}
	for _, p := range objs {
		b.Free(p)
	}
	for o := range b.Live() {
		t.Errorf("Live yields %+v at the end", o)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
