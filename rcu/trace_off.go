//go:build !invariants && !race

package rcu

// What is known of the goroutines in sections, and of the owners of readers, in builds
// with invariants: nothing in others.
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
func (holder) selfWait() error        { return nil }
