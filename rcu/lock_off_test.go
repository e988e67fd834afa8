//go:build !invariants && !race

package rcu

import (
	"testing"
	"unsafe"
)

func TestLockDoesNothing(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	token := d.Start()
	r.Lock()
	r.Quiescent() // would panic if sections were counted
	r.Unlock()
	if !d.Poll(token) || unsafe.Sizeof(r.nesting) != 0 {
		t.Error("Lock left something behind")
	}
}
