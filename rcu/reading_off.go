//go:build !invariants && !race

package rcu

// These find, in builds with invariants, what is read outside a section. In others they are empty.

func (*Domain) watch()         {}
func (*Domain) assertReading() {}
func assertReading(string)     {}
func callSite() string         { return "" }
