package workload

import "math/rand/v2"

// Random is the generator that the Go loops and native/bench.h share: a 64-bit linear congruential
// step (Knuth's MMIX constants) of which the upper half is used. Its few cycles overlap with the
// allocator's work, and are the same in both languages.
type Random uint64

// NewRandom seeds the generator of one thread.
func NewRandom(seed uint64, thread int) Random {
	return Random(seed + uint64(thread)*0x9E3779B97F4A7C15)
}

// Draw returns a number below n, as bench_draw in C.
func (r *Random) Draw(n uint32) uint32 {
	*r = *r*6364136223846793005 + 1442695040888963407
	return uint32((uint64(*r) >> 32) * uint64(n) >> 32)
}

// Order is the order in which a batch is freed.
type Order string

const (
	FIFO     Order = "fifo"
	LIFO     Order = "lifo"
	Shuffled Order = "shuffled"
)

func (o Order) about() string {
	return map[Order]string{FIFO: "in the order of allocation", LIFO: "backwards", Shuffled: "shuffled"}[o]
}

// Indices returns which of n objects is freed first, second, and so on. All loops, in Go and in C,
// use such a list, so that the orders differ in nothing else.
func (o Order) Indices(n int, seed uint64) []uint32 {
	list := make([]uint32, n)
	for i := range list {
		list[i] = uint32(i)
		if o == LIFO {
			list[i] = uint32(n - 1 - i)
		}
	}
	if o == Shuffled {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		random.Shuffle(n, func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return list
}
