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

// Provider returns nothing.
func Provider(string) string { return "" }

// Version returns nothing.
func Version() string { return "" }

// Compiler returns nothing.
func Compiler() string { return "" }
