package invariants

import "sync/atomic"

var unpublishable atomic.Pointer[func(addr uintptr) string]

// SetUnpublishable has package rcu ask f whether an address may be published: f says why not, or
// returns "". Package slub, which rcu must not import, sets it at start-up.
func SetUnpublishable(f func(addr uintptr) string) { unpublishable.Store(&f) }

// WhyUnpublishable says why an address must not be published, as far as is known, or returns "".
func WhyUnpublishable(addr uintptr) string {
	if f := unpublishable.Load(); f != nil {
		return (*f)(addr)
	}
	return ""
}
