//go:build invariants || race

package rcu

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/percpu"
	"github.com/slubd/slubd/internal/testutil"
)

// panicText returns what f panics with, "" if it returns.
func panicText(f func()) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint(r)
		}
	}()
	f()
	return ""
}

// Load panics on a goroutine that is no reader, and names the call. A reader of each kind may call
// it until its section ends, and so may an updater by LoadProtected.
// The test is a process of its own: readers that other tests have left online might be its own.
func TestLoadOutsideSection(t *testing.T) {
	if !testutil.Child(t) {
		return
	}
	addr, err := percpu.Reserve(mem.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer percpu.Unreserve(addr, mem.PageSize)
	var d, other Domain
	var p Pointer[int]
	p.Store(mem.At[int](addr))
	load := func() { p.Load() }
	outside := func(when string) {
		t.Helper()
		for what, f := range map[string]func(){"Load": load, "AssertReading": d.AssertReading} {
			if text := panicText(f); !strings.Contains(text, "reading_on_test.go:") || !strings.Contains(text, "goroutine") {
				t.Errorf("%s %s: panic %q", what, when, text)
			}
		}
	}
	inside := func(when string) {
		t.Helper()
		if text := panicText(func() { load(); d.AssertReading() }); text != "" {
			t.Errorf("%s: %s", when, text)
		}
	}
	outside("before all")
	s := d.Enter()
	inside("between Enter and Exit")
	done := make(chan string)
	go func() { done <- panicText(load) }()
	if <-done == "" {
		t.Error("the section of one goroutine protects another")
	}
	s.Exit()
	outside("after Exit")

	r := d.Register("reader")
	r.Quiescent()
	inside("with an online reader")
	r.Offline()
	outside("after Offline")
	r.Enter()
	inside("between Enter and Exit of a reader")
	r.Exit()
	outside("after Exit of a reader")
	_ = r.Close() // always nil
	s = other.Enter()
	if panicText(load) != "" || panicText(d.AssertReading) == "" {
		t.Error("a reader of another domain: Load asks for any, AssertReading for this one")
	}
	s.Exit()
	if p.LoadProtected() == nil {
		t.Error("LoadProtected has loaded nothing")
	}
}
