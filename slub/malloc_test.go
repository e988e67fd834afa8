package slub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// openBuckets makes buckets that must close without a leak when the test ends.
func openBuckets(t testing.TB, a *arena.Arena, cfg BucketsConfig) *Buckets {
	t.Helper()
	if a == nil {
		a = newArena(t, arena.Config{})
	}
	b, err := NewBuckets(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil && !t.Failed() {
			t.Error(err)
		}
	})
	return b
}

func malloc(t testing.TB, b *Buckets, n int) unsafe.Pointer {
	t.Helper()
	p, err := b.Malloc(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// sizes around every boundary between classes and kinds.
var boundaries = func() (sizes []int) {
	for _, c := range classSizes {
		sizes = append(sizes, int(c)-1, int(c), int(c)+1)
	}
	for _, run := range []int{65536, 131072, maxRun} {
		sizes = append(sizes, run-1, run, run+1)
	}
	return append(sizes, 3*maxRun)
}()

func TestMallocSizes(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{})
	class := 0
	for n := 1; n <= maxClass; n++ {
		if n > int(classSizes[class]) {
			class++
		}
		p := malloc(t, b, n)
		if got := b.Size(p); got != int(classSizes[class]) {
			t.Fatalf("%d bytes are from the class of %d, want %d", n, got, classSizes[class])
		}
		if align := classAlign(classSizes[class]); uintptr(p)%align != 0 || uintptr(p)%8 != 0 {
			t.Fatalf("%d bytes at %#x, want a multiple of %d", n, p, align)
		}
		b.Free(p)
	}
	for _, n := range boundaries {
		if n <= maxClass {
			continue
		}
		p := malloc(t, b, n)
		want := n
		if n <= maxRun {
			want = mem.PageSize << mem.Order(uintptr(n))
		}
		if got := b.Size(p); got != int(mem.AlignUp(uintptr(want), mem.PageSize)) || uintptr(p)%mem.PageSize != 0 {
			t.Errorf("%d bytes are %d at %#x, want %d", n, got, p, want)
		}
		b.Free(p)
	}
	for want, classes := range map[uintptr][]uintptr{32: {32, 96}, 64: {64, 192}, 128: {128}, 4096: {4096, 8192}, 8: {8}} {
		for _, size := range classes {
			if got := classAlign(size); got != want {
				t.Errorf("class %d is aligned to %d, want %d", size, got, want)
			}
		}
	}
}

func TestMallocOfNothing(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{Partitions: 2})
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
	same(t, "-1 bytes", err, ErrSize)
	_, err = b.MallocZero(-1)
	same(t, "-1 zeroed bytes", err, ErrSize)
	if s, err := b.Bytes(0); s == nil || len(s) != 0 || cap(s) != 0 || err != nil {
		t.Errorf("a slice of no bytes is %v, %v", s, err)
	} else {
		b.FreeBytes(s)
	}
	b.FreeBytes(nil)
}

func TestNothingWithoutMemory(t *testing.T) {
	before := noBytes.Swap(0)
	defer noBytes.Store(before)
	defer sys.FailNth(sys.CallGuard, 1, errors.New("no"))()
	_, err := nothing()
	same(t, "no bytes", err, ErrNoMemory)
}

func TestMallocZero(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{})
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

// An Alloc hook sees what the user will get: zeroes.
func TestMallocZeroBeforeTheHook(t *testing.T) {
	want, seen := -1, 0 // bytes that must be zero, -1 for none
	b := openBuckets(t, nil, BucketsConfig{Hooks: hooks.Hooks{Alloc: func(o hooks.Object) {
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

func hexOf(p unsafe.Pointer) string { return fmt.Sprintf("%p", p) }

func fill(p unsafe.Pointer, n int, with byte) {
	for i := range unsafe.Slice((*byte)(p), n) {
		*(*byte)(unsafe.Add(p, i)) = with
	}
}

// unlike is the first byte that is not want, or -1.
func unlike(p unsafe.Pointer, n int, want byte) int {
	for i, c := range unsafe.Slice((*byte)(p), n) {
		if c != want {
			return i
		}
	}
	return -1
}

func TestRealloc(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{})
	for _, c := range []struct {
		from, to int
		stays    bool
	}{
		{60, 64, true}, {64, 1, true}, {64, 65, false}, {8192, 8, true}, {32768, 32769, false},
		{32769, 65536, true}, {65536, 32769, true}, {65536, 32768, false}, {maxRun, maxRun + 1, false},
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
	if p == nil || err != nil || b.Size(p) != 128 {
		t.Errorf("nil made 100 bytes: %p, %v", p, err)
	}
	if _, err := b.Realloc(p, -1); !errors.Is(err, ErrSize) {
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
	b := openBuckets(t, a, BucketsConfig{})
	p := malloc(t, b, 8192)
	fill(p, 8192, 7)
	a.SetLimit(1)
	if _, err := b.Realloc(p, maxRun); !errors.Is(err, ErrNoMemory) {
		t.Errorf("beyond the limit: %v", err)
	}
	if _, err := b.Realloc(p, 2*maxRun); !errors.Is(err, ErrNoMemory) {
		t.Errorf("beyond the limit: %v", err)
	}
	if unlike(p, 8192, 7) >= 0 {
		t.Error("the object was touched")
	}
	a.SetLimit(0)
	b.Free(p)
}

func TestBytes(t *testing.T) {
	b := openBuckets(t, nil, BucketsConfig{})
	for n, room := range map[int]int{1: 8, 65: 96, 193: 256, 9000: 10240, maxRun + 1: maxRun + mem.PageSize} {
		s, err := b.Bytes(n)
		if err != nil || len(s) != n || cap(s) != room {
			t.Fatalf("%d bytes: length %d, capacity %d, %v", n, len(s), cap(s), err)
		}
		s = append(s[:0], "some"...)
		b.FreeBytes(s[:0])
	}
}

// Whichever way the user takes, it is the place of his call that decides: two of one kind
// get different partitions now and then.
func TestPartitionsByCallSite(t *testing.T) {
	differ := map[string]int{}
	for range 8 {
		b := openBuckets(t, nil, BucketsConfig{Partitions: 16})
		compare := func(way string, p, q unsafe.Pointer, err error) {
			if err != nil {
				t.Fatal(err)
			}
			if b.cacheOf(p) != b.cacheOf(q) {
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
	for _, way := range []string{"Malloc", "MallocZero", "Realloc", "Bytes"} {
		if differ[way] == 0 {
			t.Errorf("under 8 secrets two calls of %s get the same partition", way)
		}
	}
}

// One call site always gets the same partition, two mostly different ones.
func TestPartitions(t *testing.T) {
	differ, seen := 0, map[int]bool{}
	for range 8 {
		b := openBuckets(t, nil, BucketsConfig{Name: "parts", Partitions: 16})
		here := func() (*Cache, *Cache) {
			p, q := malloc(t, b, 100), malloc(t, b, 100)
			defer b.Free(p)
			defer b.Free(q)
			return b.cacheOf(p), b.cacheOf(q)
		}
		there, err := b.MallocZero(100)
		if err != nil {
			t.Fatal(err)
		}
		c, d := here()
		if c != d || c.config.Size != 128 {
			t.Errorf("one call site gets %q and %q", c.name, d.name)
		}
		if b.cacheOf(there) != c {
			differ++
		}
		seen[slices.Index(b.caches, b.cacheOf(there))] = true
		b.Free(there)
		if len(b.Caches()) != 16*numClasses {
			t.Fatalf("%d caches", len(b.Caches()))
		}
	}
	if differ == 0 || len(seen) == 1 {
		t.Errorf("under 8 secrets two call sites differ %d times, and one has %d partitions", differ, len(seen))
	}
}

// Many goroutines keep values of all sizes, each filled with a byte of its own, and
// hand some over; every byte is what its owner wrote until it is freed.
func TestMallocStorm(t *testing.T) {
	for name, cfg := range map[string]BucketsConfig{"plain": {}, "partitions, init": {Partitions: 3, Flags: InitOnFree}} {
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
			if n := b.large.bytes.Load() + b.large.inUse.Load(); b.rcuQueue.pending.Load() == 0 && n != 0 {
				t.Errorf("large objects count %d after the last is freed", n)
			}
		})
	}
}

// A value knows what it is filled with.
type value struct {
	p    unsafe.Pointer
	n    int
	with byte
}

func (v value) check(t *testing.T) {
	// Large ones are looked at in places.
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

func (v value) end(t *testing.T, b *Buckets) {
	v.check(t)
	b.Free(v.p)
}

func mallocUser(t *testing.T, b *Buckets, shared chan value, rng *rand.Rand, n int) {
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

// A class's sheaves hold about as many bytes as others', within bounds.
func TestClassCapacities(t *testing.T) {
	for growth, want := range map[int]map[uintptr]int{
		1: {8: 240, 128: 240, 192: 170, 256: 128, 512: 64, 1024: 32, 4096: 8, 8192: 4, 32768: 1},
		4: {8: 240, 128: 240, 192: 240, 512: 240, 640: 204, 1024: 128, 4096: 32, 8192: 16, 12288: 10, 32768: 4},
	} {
		for size, want := range want {
			if got := classCapacity(size, growth); got != want {
				t.Errorf("class %d has sheaves of %d, want %d", size, got, want)
			}
		}
	}
	b := openBuckets(t, nil, BucketsConfig{})
	for size, least := range map[uint]int{512: 64, 32768: 4} {
		if got := b.caches[classOf(size)].Stats().SheafCapacity; got < least {
			t.Errorf("the cache for %d bytes has sheaves of %d, want at least %d", size, got, least)
		}
	}
}

// Slabs of no class leave more than a tenth unused.
func TestClassSlabs(t *testing.T) {
	for _, size := range classSizes {
		slabs, _ := classSlabs(size)
		bytes := uintptr(mem.PageSize) << slabs.order(size, 2)
		if rest := bytes % size; rest > bytes/10 {
			t.Errorf("class %d: %d of %d bytes of a slab stay unused", size, rest, bytes)
		}
	}
}
