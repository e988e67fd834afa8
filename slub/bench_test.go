package slub_test

import (
	"testing"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

func BenchmarkPair(b *testing.B) {
	c, err := slub.New(nil, slub.Config{Size: 64})
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
	c, _ := slub.New(nil, slub.Config{Size: 64})
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

func BenchmarkLocal(b *testing.B) {
	c, _ := slub.New(nil, slub.Config{Size: 64})
	l, err := c.NewLocal(0)
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < b.N; i++ {
		p, _ := l.Alloc()
		*(*uint64)(p) = 1
		l.Free(p)
	}
}

func BenchmarkLocalBatch(b *testing.B) {
	c, _ := slub.New(nil, slub.Config{Size: 64})
	l, err := c.NewLocal(0)
	if err != nil {
		b.Fatal(err)
	}
	var ps [16]unsafe.Pointer
	for i := 0; i < b.N; i += len(ps) {
		for k := range ps {
			ps[k], _ = l.Alloc()
		}
		for _, p := range ps {
			l.Free(p)
		}
	}
}

func BenchmarkBulk(b *testing.B) {
	c, _ := slub.New(nil, slub.Config{Size: 64})
	var ps [32]unsafe.Pointer
	for i := 0; i < b.N; i += 32 {
		c.AllocBulk(ps[:])
		c.FreeBulk(ps[:])
	}
}

func BenchmarkBatch1000(b *testing.B) {
	c, _ := slub.New(nil, slub.Config{Size: 64})
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
	c, _ := slub.New(nil, slub.Config{Size: 64})
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
	buckets, err := slub.NewBuckets(nil, slub.BucketsConfig{})
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
