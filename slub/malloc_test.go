package slub_test

import (
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

func TestMallocOfNothing(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{Partitions: 2})
	p, q := malloc(t, b, 0), malloc(t, b, 0)
	if p == nil || p != q || b.Size(p) != 0 || b.Size(nil) != 0 {
		t.Errorf("no bytes are %p and %p with room for %d", p, q, b.Size(p))
	}
	b.Free(p)
	b.FreeRCU(p)
	b.Free(nil)
	b.FreeRCU(nil)
	func() {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if recover() == nil {
				t.Error("no bytes can be written to")
			}
		}()
		*(*byte)(p) = 1
	}()
	_, err := b.Malloc(-1)
	same(t, "-1 bytes", err, slub.ErrSize)
	_, err = b.MallocZero(-1)
	same(t, "-1 zeroed bytes", err, slub.ErrSize)
	if s, err := b.Bytes(0); s == nil || len(s) != 0 || cap(s) != 0 || err != nil {
		t.Errorf("a slice of no bytes is %v, %v", s, err)
	} else {
		b.FreeBytes(s)
	}
	b.FreeBytes(nil)
}

func TestMallocZero(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	for _, n := range boundaries {
		p := malloc(t, b, n)
		fill(p, n, 0xee)
		b.Free(p)
		q, err := b.MallocZero(n)
		if err != nil {
			t.Fatal(err)
		}
		if at := unlike(q, n, 0); at >= 0 {
			t.Errorf("byte %d of %d zeroed ones is not", at, n)
		}
		b.Free(q)
	}
}

// An Alloc hook of MallocZero sees zeroes, as its caller does.
func TestMallocZeroBeforeTheHook(t *testing.T) {
	want, seen := -1, 0 // bytes that must be zero, -1 for none
	b := openBuckets(t, nil, slub.BucketsConfig{Hooks: hooks.Hooks{Alloc: func(o hooks.Object) {
		if want < 0 {
			return
		}
		seen++
		if at := unlike(mem.Ptr(o.Addr), want, 0); at >= 0 {
			t.Errorf("the hook finds byte %d of %d not zeroed", at, want)
		}
	}}})
	for _, n := range boundaries {
		want = -1
		p := malloc(t, b, n)
		fill(p, n, 0xee)
		b.Free(p)
		want = n
		q, err := b.MallocZero(n)
		same(t, "MallocZero", err, nil)
		b.Free(q)
	}
	if seen != len(boundaries) {
		t.Errorf("the hook has seen %d objects of %d", seen, len(boundaries))
	}
}

func TestRealloc(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	for _, c := range []struct {
		from, to int
		stays    bool
	}{
		{60, 64, true}, {33, 40, true}, {40, 41, false}, {64, 1, true}, {64, 65, false}, {8192, 8, true}, {32768, 32769, false},
		{32769, 36864, true}, {32769, 36865, false}, {65536, 32769, true}, {65536, 32768, false}, {maxRun, maxRun + 1, false},
		{3 * maxRun, 2 * maxRun, true}, {3 * maxRun, maxRun, false}, {3 * maxRun, 5 * maxRun, false}, {3 * maxRun, 10, false},
	} {
		p := malloc(t, b, c.from)
		fill(p, c.from, 0x5c)
		q, err := b.Realloc(p, c.to)
		if err != nil {
			t.Fatal(err)
		}
		if (p == q) != c.stays {
			t.Errorf("%d bytes made %d: moved %v", c.from, c.to, p != q)
		}
		if at := unlike(q, min(c.from, c.to), 0x5c); at >= 0 {
			t.Errorf("%d bytes made %d: byte %d is lost", c.from, c.to, at)
		}
		if b.Size(q) < c.to {
			t.Errorf("%d bytes made %d are %d", c.from, c.to, b.Size(q))
		}
		b.Free(q)
	}
	p, err := b.Realloc(nil, 100)
	if p == nil || err != nil || b.Size(p) != 112 {
		t.Errorf("nil made 100 bytes: %p, %v", p, err)
	}
	if _, err := b.Realloc(p, -1); !errors.Is(err, slub.ErrSize) {
		t.Errorf("made -1 bytes: %v", err)
	}
	q, err := b.Realloc(p, 0)
	if err != nil || !isNothing(q) {
		t.Errorf("made no bytes: %p, %v", q, err)
	}
	if q, err = b.Realloc(q, 8); err != nil || b.Size(q) != 8 {
		t.Errorf("no bytes made 8: %p, %v", q, err)
	}
	b.Free(q)
}

func TestReallocThatFails(t *testing.T) {
	a := newArena(t, arena.Config{})
	b := openBuckets(t, a, slub.BucketsConfig{})
	p := malloc(t, b, 8192)
	fill(p, 8192, 7)
	a.SetLimit(1)
	if _, err := b.Realloc(p, maxRun); !errors.Is(err, slub.ErrNoMemory) {
		t.Errorf("beyond the limit: %v", err)
	}
	if _, err := b.Realloc(p, 2*maxRun); !errors.Is(err, slub.ErrNoMemory) {
		t.Errorf("beyond the limit: %v", err)
	}
	if unlike(p, 8192, 7) >= 0 {
		t.Error("the object was touched")
	}
	a.SetLimit(0)
	b.Free(p)
}

func TestBytes(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	for n, room := range map[int]int{1: 8, 33: 40, 65: 80, 193: 224, 9000: 9216, maxRun + 1: maxRun + mem.PageSize} {
		s, err := b.Bytes(n)
		if err != nil || len(s) != n || cap(s) != room {
			t.Fatalf("%d bytes: length %d, capacity %d, %v", n, len(s), cap(s), err)
		}
		s = append(s[:0], "some"...)
		b.FreeBytes(s[:0])
	}
}

// The call site decides which partition a value comes from, for every function that allocates: of
// two call sites of one function, some get different partitions.
func TestPartitionsByCallSite(t *testing.T) {
	differ, ways := map[string]int{}, []string{"Malloc", "MallocZero", "Realloc", "Bytes"}
	for i := 0; i < 8 && len(differ) < len(ways); i++ {
		b := openBuckets(t, nil, slub.BucketsConfig{Partitions: 16})
		compare := func(way string, p, q unsafe.Pointer, err error) {
			if err != nil {
				t.Fatal(err)
			}
			if cacheOf(b, p) != cacheOf(b, q) {
				differ[way]++
			}
			b.Free(p)
			b.Free(q)
		}
		p, _ := b.Malloc(100)
		q, err := b.Malloc(100)
		compare("Malloc", p, q, err)
		p, _ = b.MallocZero(100)
		q, err = b.MallocZero(100)
		compare("MallocZero", p, q, err)
		p, _ = b.Realloc(nil, 100)
		q, err = b.Realloc(nil, 100)
		compare("Realloc", p, q, err)
		s, _ := b.Bytes(100)
		u, err := b.Bytes(100)
		compare("Bytes", unsafe.Pointer(&s[0]), unsafe.Pointer(&u[0]), err)
	}
	for _, way := range ways {
		if differ[way] == 0 {
			t.Errorf("under 8 secrets two calls of %s get the same partition", way)
		}
	}
}

// One call site always gets the same partition. Two call sites mostly get different ones.
func TestPartitions(t *testing.T) {
	differ, seen := 0, map[int]bool{}
	for i := 0; i < 8 && (differ == 0 || len(seen) == 1); i++ {
		b := openBuckets(t, nil, slub.BucketsConfig{Name: "parts", Partitions: 16})
		here := func() (*slub.Cache, *slub.Cache) {
			p, q := malloc(t, b, 100), malloc(t, b, 100)
			defer b.Free(p)
			defer b.Free(q)
			return cacheOf(b, p), cacheOf(b, q)
		}
		there, err := b.MallocZero(100)
		if err != nil {
			t.Fatal(err)
		}
		c, d := here()
		if c != d || c.Stats().Size != 112 {
			t.Errorf("one call site gets %q and %q", c.Name(), d.Name())
		}
		if cacheOf(b, there) != c {
			differ++
		}
		seen[slices.Index(b.Caches(), cacheOf(b, there))] = true
		b.Free(there)
		if len(b.Caches()) != 16*numClasses {
			t.Fatalf("%d caches", len(b.Caches()))
		}
	}
	if differ == 0 || len(seen) == 1 {
		t.Errorf("under 8 secrets two call sites differ %d times, and one has %d partitions", differ, len(seen))
	}
}

// Goroutines allocate values of all sizes, fill each with a byte of its own, and hand some to other
// goroutines. Every byte stays as it was written until its value is freed.
func TestMallocStress(t *testing.T) {
	for name, cfg := range map[string]slub.BucketsConfig{"plain": {}, "partitions, init": {Partitions: 3, Flags: slub.InitOnFree}} {
		t.Run(name, func(t *testing.T) {
			b := openBuckets(t, newArena(t, arena.Config{Span: 256 * mib}), cfg)
			shared, seed := make(chan value, 64), testutil.Seed(t)
			var users sync.WaitGroup
			for id := range 8 {
				users.Go(func() {
					mallocUser(t, b, shared, rand.New(rand.NewPCG(seed, uint64(id))), testutil.Stress(t, 80_000)/8)
				})
			}
			users.Wait()
			close(shared)
			for v := range shared {
				v.end(t, b)
			}
			same(t, "Barrier", b.Barrier(t.Context()), nil)
			if n, queued := largeCounts(b); n != 0 || queued != 0 {
				t.Errorf("large objects count %d after the last is freed, of which %d are queued", n, queued)
			}
		})
	}
}

// A value is memory and the byte that it is filled with.
type value struct {
	p    unsafe.Pointer
	n    int
	with byte
}

func (v value) check(t *testing.T) {
	// Of large values only some places are compared.
	for at := 0; at < v.n; at += max(1, v.n/64) {
		if *(*byte)(unsafe.Add(v.p, at)) != v.with {
			t.Errorf("byte %d of %d at %p isn't its owner's", at, v.n, v.p)
			return
		}
	}
}

func (v value) paint() value {
	for at := 0; at < v.n; at += max(1, v.n/64) {
		*(*byte)(unsafe.Add(v.p, at)) = v.with
	}
	return v
}

func (v value) end(t *testing.T, b *slub.Buckets) {
	v.check(t)
	b.Free(v.p)
}

func mallocUser(t *testing.T, b *slub.Buckets, shared chan value, rng *rand.Rand, n int) {
	var held []value
	size := func() int {
		switch rng.IntN(256) {
		case 0, 1, 2, 3:
			return 1 + rng.IntN(maxRun/8)
		case 4:
			return maxRun + rng.IntN(maxRun)
		}
		return 1 + rng.IntN(1<<rng.IntN(14))
	}
	for range n {
		if len(held) < 8 || rng.IntN(2) == 0 && len(held) < 40 {
			v := value{n: size(), with: byte(rng.Uint32())}
			v.p = malloc(t, b, v.n)
			held = append(held, v.paint())
			continue
		}
		i := rng.IntN(len(held))
		v := held[i]
		held[i] = held[len(held)-1]
		held = held[:len(held)-1]
		v.check(t)
		switch rng.IntN(8) {
		case 0:
			b.FreeRCU(v.p)
		case 1:
			q, err := b.Realloc(v.p, size())
			if err != nil {
				t.Error(err)
				return
			}
			v = value{q, min(v.n, b.Size(q)), v.with}
			v.n = min(v.n, 64) // what is looked at later was kept, wherever n's steps fall
			held = append(held, v.paint())
		case 2:
			select {
			case shared <- v:
			case other := <-shared:
				other.check(t)
				held = append(held, v, other)
			}
		default:
			b.Free(v.p)
		}
	}
	for _, v := range held {
		v.end(t, b)
	}
}
