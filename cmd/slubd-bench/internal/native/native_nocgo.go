//go:build !cgo || !linux

package native

import "github.com/slubd/slubd/cmd/slubd-bench/internal/workload"

// Available reports whether this build has the C loops.
const Available = false

// Run fails with ErrUnavailable.
func Run(workload.Spec) (workload.Sample, error) { return workload.Sample{}, ErrUnavailable }

// Verify fails with ErrUnavailable.
func Verify(string) (string, error) { return "", ErrUnavailable }

// Load fails with ErrUnavailable.
func Load(string) error { return ErrUnavailable }

// Draws answers in Go what the other build answers in C.
func Draws(seed uint64, thread int, n uint32, count int) []uint32 {
	random := workload.NewRandom(seed, thread)
	draws := make([]uint32, count)
	for i := range draws {
		draws[i] = random.Draw(n)
	}
	return draws
}
