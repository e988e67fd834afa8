package workload

import "math"

// tableLen is the number of sizes in the table of a distribution.
const tableLen = 1024

// Sizes returns the object sizes in bytes that the loops of k draw from, each equally likely; nil
// if all objects have Spec.Size. With a table a draw costs one load in both languages, whatever the
// distribution.
func (k Kind) Sizes() []uint32 {
	switch k {
	case Mix:
		return []uint32{16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024}
	case Larson:
		return table(993, func(u float64) float64 { return 8 + 993*u }) // each of 8 to 1000 once
	case MStress:
		return []uint32{16, 32, 64, 128, 256, 512, 1024}
	case RPTest:
		return table(tableLen, falloff(8, 16_000))
	case SH6, SH8:
		return table(tableLen, falloff(8, 1000))
	case AllocTest:
		return table(tableLen, pareto(8, 1024))
	case MallocMix:
		return table(tableLen, logUniform(8, 8192))
	}
	return nil
}

// table samples the inverse of a distribution function in the middles of n equal parts.
func table(n int, inverse func(u float64) float64) []uint32 {
	sizes := make([]uint32, n)
	for i := range sizes {
		sizes[i] = uint32(inverse((float64(i) + 0.5) / float64(n)))
	}
	return sizes
}

// falloff makes sizes from low to high with a probability that falls linearly to zero.
func falloff(low, high float64) func(float64) float64 {
	return func(u float64) float64 { return low + (high-low)*(1-math.Sqrt(1-u)) }
}

// pareto makes half of the sizes less than twice low, half of the rest less than four times low,
// and so on, up to high.
func pareto(low, high float64) func(float64) float64 {
	return func(u float64) float64 { return min(high, low/(1-u)) }
}

// logUniform makes each power of two between low and high equally likely.
func logUniform(low, high float64) func(float64) float64 {
	return func(u float64) float64 { return low * math.Exp(u*math.Log(high/low)) }
}

// Classes returns the kernel's kmalloc sizes in bytes. The report of the bytes that allocators give
// is by these classes.
func Classes() []uint32 {
	return []uint32{8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192}
}

// ClassBytes adds up requests of at most Class bytes and more than the class before. Field names
// are stable.
type ClassBytes struct {
	Class uint32 `json:"class"` // bytes
	Asked uint64 `json:"asked_bytes"`
	Given uint64 `json:"given_bytes"`
}

// ByClass adds up sizes, and the bytes given for each, by class.
func ByClass(asked, given []uint32) []ClassBytes {
	var list []ClassBytes
	for _, class := range Classes() {
		list = append(list, ClassBytes{Class: class})
	}
	for i, size := range asked {
		for k := range list {
			if size <= list[k].Class {
				list[k].Asked += uint64(size)
				list[k].Given += uint64(given[i])
				break
			}
		}
	}
	return list
}
