package slub

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
)

func BenchmarkPair(b *testing.B) {
	c, err := New(nil, Config{Size: 64})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p, err := c.Alloc()
		if err != nil {
			b.Fatal(err)
		}
		*(*uint64)(p) = 1
		c.Free(p)
	}
}
func BenchmarkPrefill(b *testing.B) {
	c, _ := New(nil, Config{Size: 64})
	s, err := c.Prefill(30)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < b.N; i++ {
		p := s.Alloc()
		*(*uint64)(p) = 1
		s.Free(p)
	}
}
func BenchmarkBulk(b *testing.B) {
	c, _ := New(nil, Config{Size: 64})
	var ps [32]unsafe.Pointer
	for i := 0; i < b.N; i += 32 {
		c.AllocBulk(ps[:])
		c.FreeBulk(ps[:])
	}
}
func BenchmarkBatch1000(b *testing.B) {
	c, _ := New(nil, Config{Size: 64})
	var ps [1000]unsafe.Pointer
	for i := 0; i < b.N; i += 1000 {
		for j := range ps {
			ps[j], _ = c.Alloc()
			*(*uint64)(ps[j]) = 1
		}
		for j := range ps {
			c.Free(ps[j])
		}
	}
}
func BenchmarkRCU(b *testing.B) {
	c, _ := New(nil, Config{Size: 64})
	for i := 0; i < b.N; i++ {
		p, err := c.Alloc()
		if err != nil {
			b.Fatal(err)
		}
		*(*uint64)(p) = 1
		c.FreeRCU(p)
	}
	b.Log(c.Stats())
}

// BenchmarkMalloc allocates and frees sizes that change, through Buckets.
func BenchmarkMalloc(b *testing.B) {
	buckets, err := NewBuckets(nil, BucketsConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer buckets.Close()
	for i := 0; b.Loop(); i++ {
		p, err := buckets.Malloc(1 + i&1023)
		if err != nil {
			b.Fatal(err)
		}
		buckets.Free(p)
	}
}

// BenchmarkBatch allocates 40 objects and frees them, in ns for a pair, beside the same
// loops around functions that do nothing: what calls cost a Go loop, whatever they call.
// Nothing that a call of Go's can do is faster than that.
func BenchmarkBatch(b *testing.B) {
	c, err := New(nil, Config{Size: 64})
	if err != nil {
		b.Fatal(err)
	}
	object := unsafe.Pointer(new([64]byte))
	for name, f := range map[string]struct {
		alloc percpu.PopFunc
		free  percpu.FreeFunc
	}{
		"slubd": {c.pop.Func(), c.free.Func()},
		"empty": {func() (unsafe.Pointer, error) { return object, nil }, func(unsafe.Pointer) {}},
	} {
		b.Run(name, func(b *testing.B) {
			live := make([]uintptr, 40)
			for i := 0; i < b.N; i += len(live) {
				if allocAll(f.alloc, live) != nil {
					b.Fatal("no memory")
				}
				freeEach(f.free, live)
			}
		})
	}
}

//go:noinline
func allocAll(alloc percpu.PopFunc, live []uintptr) error {
	for i := range live {
		p, err := alloc()
		if err != nil {
			return err
		}
		*(*uint64)(p) = uint64(i)
		live[i] = uintptr(p)
	}
	return nil
}

//go:noinline
func freeEach(free percpu.FreeFunc, live []uintptr) {
	for _, p := range live {
		free(mem.Ptr(p))
	}
}
