package slub_test

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// pattern returns n bytes that no other place in memory has.
func pattern(rng *rand.Rand, n int) []byte {
	s := make([]byte, n)
	for i := range s {
		s[i] = byte(rng.Uint32())
	}
	return s
}

// dirty leaves idle memory of every size behind that is not zero.
func dirty(t *testing.T, b *slub.Buckets, n int) {
	t.Helper()
	var ps []unsafe.Pointer
	for range 3 {
		p := malloc(t, b, n)
		fill(p, b.Size(p), 0xee)
		ps = append(ps, p)
	}
	b.FreeBulk(ps)
}

// BytesZero is zero over its length, whatever the memory was.
func TestBytesZero(t *testing.T) {
	for _, flags := range []slub.Flags{0, slub.InitOnFree, slub.InitOnAlloc} {
		b := openBuckets(t, nil, slub.BucketsConfig{Flags: flags})
		for _, n := range boundaries {
			dirty(t, b, n)
			s, err := b.BytesZero(n)
			same(t, "BytesZero", err, nil)
			if len(s) != n || cap(s) != b.Size(unsafe.Pointer(&s[0])) {
				t.Errorf("%d bytes have length %d, capacity %d", n, len(s), cap(s))
			}
			if at := unlike(unsafe.Pointer(&s[0]), n, 0); at >= 0 {
				t.Errorf("byte %d of %d is not zero", at, n)
			}
			b.FreeBytes(s)
		}
		s, err := b.BytesZero(0)
		if s == nil || len(s) != 0 || err != nil {
			t.Errorf("no bytes are %v, %v", s, err)
		}
		_, err = b.BytesZero(-1)
		same(t, "BytesZero of -1", err, slub.ErrSize)
	}
}

// ReallocBytes keeps the content through any changes of length, and stays where it fits.
func TestReallocBytes(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	rng := rand.New(rand.NewPCG(testutil.Seed(t), 0))
	var s, want []byte
	for range 300 {
		n := rng.IntN(1 << rng.IntN(18))
		if rng.IntN(50) == 0 {
			n = maxRun + rng.IntN(maxRun)
		}
		room, before := cap(s), unsafe.SliceData(s)
		var err error
		if s, err = b.ReallocBytes(s, n); err != nil {
			t.Fatal(err)
		}
		if len(s) != n || !bytes.Equal(s[:min(n, len(want))], want[:min(n, len(want))]) {
			t.Fatalf("%d bytes made %d lose their content", len(want), n)
		}
		if n > 0 && n <= room && room <= maxClass && unsafe.SliceData(s) != before {
			t.Errorf("%d bytes move, though there is room for %d", n, room)
		}
		want = pattern(rng, n)
		copy(s, want)
	}
	b.FreeBytes(s)
	s, err := b.Bytes(100)
	same(t, "Bytes", err, nil)
	for _, n := range []int{-1, 1 << 62} {
		if _, err := b.ReallocBytes(s, n); err == nil || len(s) != 100 {
			t.Errorf("made %d bytes: %v", n, err)
		}
	}
	if s, err = b.ReallocBytes(s, 0); s == nil || len(s) != 0 || err != nil || b.Stats().Objects != 0 {
		t.Errorf("made no bytes: %v, %v, %d objects left", s, err, b.Stats().Objects)
	}
}

// A slice that append has moved to the Go heap is reported, and is left alone.
func TestReallocBytesOfGoHeap(t *testing.T) {
	reports := 0
	b := openBuckets(t, nil, slub.BucketsConfig{Hooks: hooks.Hooks{Report: func(*hooks.Report) { reports++ }}})
	s := make([]byte, 10, 20)
	if _, err := b.ReallocBytes(s, 100); !errors.Is(err, slub.ErrForeign) || reports != 1 {
		t.Errorf("%v, %d reports", err, reports)
	}
}

// FreeBytesRCU waits for readers, with every kind of object.
func TestFreeBytesRCU(t *testing.T) {
	for kind, n := range kinds {
		domain := new(rcu.Domain)
		died := 0
		b := openBuckets(t, nil, slub.BucketsConfig{Domain: domain, RCUDtor: func(unsafe.Pointer) { died++ }})
		s, err := b.BytesZero(n)
		same(t, "BytesZero", err, nil)
		reader := domain.Register("reader")
		b.FreeBytesRCU(s[:0])
		if died != 0 || unlike(unsafe.Pointer(&s[0]), n, 0) >= 0 {
			t.Errorf("a %s is reused while a reader may read it", kind)
		}
		same(t, "Close of the reader", reader.Close(), nil)
		same(t, "Barrier", b.Barrier(t.Context()), nil)
		if died != 1 {
			t.Errorf("a %s is destroyed %d times", kind, died)
		}
		b.FreeBytesRCU(nil)
		b.FreeBytesRCU([]byte{})
	}
}

// ReallocZero keeps the old bytes and zeroes the others, whether it moves the object or not, and
// whatever was in the room behind the old bytes.
func TestReallocZero(t *testing.T) {
	for _, flags := range []slub.Flags{0, slub.InitOnFree} {
		b := openBuckets(t, nil, slub.BucketsConfig{Flags: flags})
		for _, c := range []struct{ old, n int }{
			{48, 40}, {40, 56}, {40, 64}, {40, 112}, {100, 128}, {32768, 32769}, {32769, 40000}, {65536, 70000},
			{100_000, 10}, {maxRun, maxRun + 1}, {maxRun + 1, 2 * maxRun}, {0, 100}, {64, 0},
		} {
			dirty(t, b, max(1, c.n))
			p := malloc(t, b, max(1, c.old))
			fill(p, b.Size(p), 0xff)
			fill(p, c.old, 0x5c)
			q, err := b.ReallocZero(p, c.old, c.n)
			same(t, "ReallocZero", err, nil)
			kept := min(c.old, c.n)
			if at := unlike(q, kept, 0x5c); at >= 0 {
				t.Errorf("%d bytes made %d: byte %d is lost", c.old, c.n, at)
			}
			if at := unlike(unsafe.Add(q, kept), c.n-kept, 0); at >= 0 {
				t.Errorf("%d bytes made %d: byte %d is not zero", c.old, c.n, kept+at)
			}
			b.Free(q)
		}
		p, err := b.ReallocZero(nil, 0, 100)
		if err != nil || unlike(p, 100, 0) >= 0 {
			t.Errorf("nil made 100 bytes: %v", err)
		}
		fill(p, b.Size(p), 1)
		if q, err := b.ReallocZero(p, 1<<40, 112); q != p || err != nil || unlike(q, 112, 1) >= 0 {
			t.Errorf("old bytes beyond the room: %v", err)
		}
		_, err = b.ReallocZero(p, -1, 100)
		same(t, "ReallocZero of -1 old bytes", err, slub.ErrSize)
		_, err = b.ReallocZero(p, 100, -1)
		same(t, "ReallocZero to -1 bytes", err, slub.ErrSize)
		b.Free(p)
	}
}

// A slice has all the room that Size says, for every number of bytes up to the largest class, also
// from the default Buckets, and MallocZero clears as many.
func TestBytesHaveRoom(t *testing.T) {
	for name, b := range map[string]*slub.Buckets{"own": openBuckets(t, nil, slub.BucketsConfig{}), "default": nil,
		"partitions": openBuckets(t, nil, slub.BucketsConfig{Partitions: 2})} {
		bytes, zero, size, free := slub.Bytes, slub.MallocZero, slub.Size, slub.Free
		if b != nil {
			bytes, zero, size, free = b.Bytes, b.MallocZero, b.Size, b.Free
		}
		for n := 1; n <= maxClass+1; n += 1 + n/40 {
			s, err := bytes(n)
			if err != nil {
				t.Fatal(err)
			}
			p := unsafe.Pointer(unsafe.SliceData(s))
			if len(s) != n || cap(s) != size(p) {
				t.Errorf("%s: %d bytes have length %d, capacity %d and size %d", name, n, len(s), cap(s), size(p))
			}
			paint(p, uintptr(n), 5)
			free(p)
			q, err := zero(n)
			if err != nil {
				t.Fatal(err)
			}
			if !zeroed(q, uintptr(n)) {
				t.Errorf("%s: MallocZero(%d) is not zero", name, n)
			}
			free(q)
		}
	}
}

// FreeBytes checks as Free does, also the slices that its sequence refuses, and leaves alone what
// has no capacity.
func TestFreeBytesChecks(t *testing.T) {
	var reports []hooks.Kind
	b := openBuckets(t, nil, slub.BucketsConfig{Name: "checked", Hooks: hooks.Hooks{
		Report: func(r *hooks.Report) { reports = append(reports, r.Kind) }}})
	other := openBuckets(t, b.Arena(), slub.BucketsConfig{})
	s, err := b.Bytes(100)
	same(t, "Bytes", err, nil)
	foreign, err := other.Bytes(100)
	same(t, "Bytes", err, nil)
	for what, free := range map[string][]byte{"no slice": nil, "no capacity": {}, "an object without capacity": s[:0:0]} {
		if b.FreeBytes(free); len(reports) != 0 || b.Stats().Objects != 1 {
			t.Errorf("%s: %d reports, %d objects are left", what, len(reports), b.Stats().Objects)
		}
	}
	for what, bad := range map[string]struct {
		s    []byte
		kind hooks.Kind
	}{
		"the inside":          {s[1:], hooks.MisalignedPointer},
		"a word inside":       {s[8:9:9], hooks.MisalignedPointer},
		"of other Buckets":    {foreign, hooks.WrongCache},
		"memory of Go's heap": {make([]byte, 100), hooks.ForeignPointer},
	} {
		reports = nil
		if b.FreeBytes(bad.s); len(reports) != 1 || reports[0] != bad.kind || b.Stats().Objects != 1 {
			t.Errorf("%s: reported as %v, %d objects are left", what, reports, b.Stats().Objects)
		}
	}
	other.FreeBytes(foreign)
	b.FreeBytes(s)
	if n := b.Stats().Objects; n != 0 {
		t.Errorf("%d objects are left", n)
	}
}

// Bytes returns no slice and the error of Malloc where there is no memory to have.
func TestBytesFails(t *testing.T) {
	b := openBuckets(t, nil, slub.BucketsConfig{})
	fails := func(n int, want error) {
		t.Helper()
		if s, err := b.Bytes(n); s != nil || !errors.Is(err, want) {
			t.Errorf("%d bytes: %v, %v; want %v", n, s, err, want)
		}
	}
	fails(-1, slub.ErrSize)
	fails(-1<<63, slub.ErrSize)
	fails(1<<62, slub.ErrNoMemory)
	s, err := b.Bytes(100)
	same(t, "Bytes", err, nil)
	b.FreeBytes(s)
	same(t, "Close", b.Close(), nil)
	for _, n := range []int{1, 100, maxClass, maxClass + 1} {
		fails(n, slub.ErrClosed)
	}
}

// Hooks see every slice, as they see every object.
func TestBytesCallsHooks(t *testing.T) {
	n := 0
	b := openBuckets(t, nil, slub.BucketsConfig{Hooks: balancing(&n)})
	for _, size := range []int{1, 100, 2000, maxClass, maxClass + 1} {
		s, err := b.Bytes(size)
		if err != nil || n != 1 {
			t.Fatalf("%d bytes: %d allocations seen, %v", size, n, err)
		}
		if b.FreeBytes(s); n != 0 {
			t.Errorf("%d bytes: %d objects in use by what the hooks saw", size, n)
		}
	}
}

// The profile's picks are as many among slices that come from sheaves as among other allocations.
func TestBytesAreSampled(t *testing.T) {
	const rate, size, n = 4096, 64, 200_000
	b := openBuckets(t, nil, slub.BucketsConfig{Name: "sampled-bytes", ProfileRate: rate})
	before := profileOf("sampled-bytes-64")["TestBytesAreSampled"].AllocObjects // of earlier runs
	for range n {
		s, err := b.Bytes(size)
		if err != nil {
			t.Fatal(err)
		}
		b.FreeBytes(s)
	}
	p := profileOf("sampled-bytes-64")["TestBytesAreSampled"]
	near(t, "Bytes, allocated", p.AllocObjects-before, n, -math.Expm1(-float64(size)/rate))
	if p.InUseObjects != 0 {
		t.Errorf("%d objects are in use", p.InUseObjects)
	}
}

// Bytes and FreeBytes take a CPU's sheaf as it is, without a slow path or memory of Go's.
func TestBytesAreSequences(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	b := openBuckets(t, nil, slub.BucketsConfig{ProfileRate: slub.None})
	c := b.Caches()[7]
	pair := func() {
		s, err := b.Bytes(64)
		if err != nil {
			t.Fatal(err)
		}
		b.FreeBytes(s)
	}
	pinned(t, 0, func() {
		pair()
		before := c.Stats()
		if n := testutil.GoAllocs(1000, pair); n != 0 && !sanitized {
			t.Errorf("a pair makes %v allocations", n)
		}
		after := c.Stats()
		got := after.Events[slub.AllocFastpath] - before.Events[slub.AllocFastpath]
		if slow := after.Events[slub.AllocSlowpath] - before.Events[slub.AllocSlowpath]; got < 1000 || slow != 0 {
			t.Errorf("%d slices from sheaves, %d by slow paths", got, slow)
		}
	})
}
