//go:build !invariants && !race

package rcu

import "time"

// These record which goroutines are in sections, and which use readers, in builds with invariants.
// In other builds they are empty.
type (
	trace  struct{}
	traces struct{}
	owner  struct{}
)

func (*trace) begin(*sections)        {}
func (*trace) end(*sections)          {}
func (*traces) sites() []string       { return nil }
func (*owner) record()                {}
func (*owner) last() uint64           { return 0 }
func (*Domain) selfWait(string) error { return nil }
func (blocker) selfWait() error       { return nil }
func lookAgain() <-chan time.Time     { return nil }
