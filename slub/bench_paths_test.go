package slub_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// BenchmarkInit is a pair with InitOnAlloc and InitOnFree, beside one without, and beside the
// clearing alone.
func BenchmarkInit(b *testing.B) {
	for _, size := range []int64{16, 64, 256, 1024, 4096} {
		for name, flags := range map[string]slub.Flags{"none": 0, "alloc": slub.InitOnAlloc,
			"free": slub.InitOnFree, "both": slub.InitOnAlloc | slub.InitOnFree} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				c := open(b, nil, slub.Config{Size: size, Flags: flags})
				for b.Loop() {
					p, err := c.Alloc()
					if err != nil {
						b.Fatal(err)
					}
					*(*uint64)(p) = 1
					c.Free(p)
				}
			})
		}
		b.Run(fmt.Sprintf("memset/%d", size), func(b *testing.B) {
			object := make([]byte, size)
			for b.Loop() {
				clear(object)
			}
		})
	}
}

// BenchmarkNode is a pair of AllocNode and Free, beside one of Alloc and Free: on the CPU's own
// node, and on another one of a machine that seems to have two.
func BenchmarkNode(b *testing.B) {
	c := open(b, newArena(b, arena.Config{Topology: fakeNodes(b, 2)}), slub.Config{Size: 64})
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	restore, err := numa.SetAffinity(0)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("alloc", func(b *testing.B) {
		for b.Loop() {
			p, err := c.Alloc()
			if err != nil {
				b.Fatal(err)
			}
			*(*uint64)(p) = 1
			c.Free(p)
		}
	})
	for node, name := range []string{"own", "near"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				p, err := c.AllocNode(numa.Node(node))
				if err != nil {
					b.Fatal(err)
				}
				*(*uint64)(p) = 1
				c.Free(p)
			}
		})
	}
	if err := restore(); err != nil {
		b.Error(err)
	}
}

// BenchmarkMallocs is a pair of Free and each function that allocates 64 bytes.
func BenchmarkMallocs(b *testing.B) {
	buckets := openBuckets(b, nil, slub.BucketsConfig{})
	b.Run("malloc", func(b *testing.B) {
		for b.Loop() {
			p, err := buckets.Malloc(64)
			if err != nil {
				b.Fatal(err)
			}
			*(*uint64)(p) = 1
			buckets.Free(p)
		}
	})
	b.Run("zero", func(b *testing.B) {
		for b.Loop() {
			p, err := buckets.MallocZero(64)
			if err != nil {
				b.Fatal(err)
			}
			*(*uint64)(p) = 1
			buckets.Free(p)
		}
	})
	b.Run("bytes", func(b *testing.B) {
		for b.Loop() {
			s, err := buckets.Bytes(64)
			if err != nil {
				b.Fatal(err)
			}
			s[0] = 1
			buckets.FreeBytes(s)
		}
	})
	b.Run("default", func(b *testing.B) {
		for b.Loop() {
			p, err := slub.Malloc(64)
			if err != nil {
				b.Fatal(err)
			}
			*(*uint64)(p) = 1
			slub.Free(p)
		}
	})
	b.Run("default-zero", func(b *testing.B) {
		for b.Loop() {
			p, err := slub.MallocZero(64)
			if err != nil {
				b.Fatal(err)
			}
			*(*uint64)(p) = 1
			slub.Free(p)
		}
	})
	b.Run("default-bytes", func(b *testing.B) {
		for b.Loop() {
			s, err := slub.Bytes(64)
			if err != nil {
				b.Fatal(err)
			}
			s[0] = 1
			slub.FreeBytes(s)
		}
	})
}
