package workload

import "math"

// tableLen is how many sizes a distribution is made of.
const tableLen = 1024

// Sizes lists the object sizes that the loops of k draw from, each as likely as the
// next, in bytes; nil where all objects have Spec.Size. Tables cost both languages one
// load, whatever the distribution.
func (k Kind) Sizes() []uint32 {
	switch k {
	case Mix:
		return MixSizes()
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

// table samples the inverse of a distribution function in the middle of n equal parts.
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

// pareto makes half of the sizes less than twice low, half of the rest less than four
// times low, and so on; what would be larger than high is high.
func pareto(low, high float64) func(float64) float64 {
	return func(u float64) float64 { return min(high, low/(1-u)) }
}

// logUniform makes each power of two between low and high as likely as the next.
func logUniform(low, high float64) func(float64) float64 {
	return func(u float64) float64 { return low * math.Exp(u*math.Log(high/low)) }
}

// Classes are the kernel's kmalloc sizes in bytes: what requests are sorted by when it is
// shown how much more than they asked for they were given.
func Classes() []uint32 {
	return []uint32{8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192}
}

// ClassBytes says what objects took that were asked for with more bytes than the class
// before has, and at most Class. Field names are stable.
type ClassBytes struct {
	Class uint32 `json:"class"` // bytes
	Asked uint64 `json:"asked_bytes"`
	Given uint64 `json:"given_bytes"`
}

// ByClass adds up sizes and what was given for them.
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
