//go:build invariants || race

package rcu

import "testing"

func TestLockAsserts(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	wantPanic(t, "Unlock without Lock", r.Unlock)

	methods := map[string]func(){
		"Quiescent": r.Quiescent, "Offline": r.Offline, "Online": r.Online, "Close": func() { r.Close() },
	}
	r.Lock()
	for range 2 { // sections nest
		r.Lock()
		for name, method := range methods {
			wantPanic(t, name+" inside Lock", method)
		}
	}
	r.Unlock()
	r.Unlock()
	r.Unlock()

	r.Quiescent()
	r.Offline()
	wantPanic(t, "Lock while offline", r.Lock)
	wantPanic(t, "Exit without Enter", r.Exit)
	r.Enter()
	for name, method := range methods {
		wantPanic(t, name+" between Enter and Exit", method)
	}
	r.Exit()
	r.Close()
	wantPanic(t, "Lock after Close", r.Lock)
	wantPanic(t, "Unlock after Close", r.Unlock)
}

func TestForeignTokenIsCaught(t *testing.T) {
	var d, other Domain
	wantPanic(t, "of another domain", func() { d.Poll(other.Start()) })
}
