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

// BenchmarkCallSites allocates and frees one object of 64 bytes whose call site is counted.
func BenchmarkCallSites(b *testing.B) {
	buckets, err := slub.NewBuckets(nil, slub.BucketsConfig{CallSites: true})
	if err != nil {
		b.Fatal(err)
	}
	defer buckets.Close()
	for b.Loop() {
		p, _ := buckets.Malloc(64)
		*(*uint64)(p) = 1
		buckets.Free(p)
	}
}

// BenchmarkAccount allocates and frees objects of 64 bytes, with and without an Account: in pairs,
// and a hundred before they are freed in the same order.
func BenchmarkAccount(b *testing.B) {
	buckets, err := slub.NewBuckets(nil, slub.BucketsConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer buckets.Close()
	a, err := buckets.NewAccount(slub.AccountConfig{Limit: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	group, err := slub.NewGroup(slub.GroupConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer group.Close()
	child, err := buckets.NewAccount(slub.AccountConfig{Parent: group})
	if err != nil {
		b.Fatal(err)
	}
	defer child.Close()
	b.Run("pair/plain", func(b *testing.B) {
		for range b.N {
			p, _ := buckets.Malloc(64)
			*(*uint64)(p) = 1
			buckets.Free(p)
		}
	})
	pair := func(a *slub.Account) func(b *testing.B) {
		return func(b *testing.B) {
			for range b.N {
				p, _ := a.Malloc(64)
				*(*uint64)(p) = 1
				a.Free(p)
			}
		}
	}
	b.Run("pair/account", pair(a))
	b.Run("pair/parent", pair(child))
	b.Run("pair/othersFree", func(b *testing.B) {
		for range b.N {
			p, _ := a.Malloc(64)
			*(*uint64)(p) = 1
			buckets.Free(p)
		}
	})
	var ps [100]unsafe.Pointer
	b.Run("hundred/plain", func(b *testing.B) {
		for i := 0; i < b.N; i += len(ps) {
			for k := range ps {
				ps[k], _ = buckets.Malloc(64)
				*(*uint64)(ps[k]) = 1
			}
			for _, p := range ps {
				buckets.Free(p)
			}
		}
	})
	hundred := func(free func()) func(b *testing.B) {
		return func(b *testing.B) {
			for i := 0; i < b.N; i += len(ps) {
				for k := range ps {
					ps[k], _ = a.Malloc(64)
					*(*uint64)(ps[k]) = 1
				}
				free()
			}
		}
	}
	b.Run("hundred/account", hundred(func() {
		for _, p := range ps {
			a.Free(p)
		}
	}))
	b.Run("hundred/reset", hundred(a.Reset))
	b.Run("request", func(b *testing.B) { // ten objects in an Account of its own
		for range b.N {
			a, _ := buckets.NewAccount(slub.AccountConfig{})
			for range 10 {
				a.Malloc(64)
			}
			a.Close()
		}
	})
}
