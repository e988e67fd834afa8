//go:build invariants && !race

package slub_test

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

// Builds with invariants panic where two goroutines use a Local at the same time: here one is in a
// constructor that its Alloc has called.
func TestLocalInUse(t *testing.T) {
	inside, leave := make(chan bool, 1), make(chan bool)
	c := open(t, nil, slub.Config{Size: 64, Ctor: func(unsafe.Pointer) {
		select {
		case inside <- true:
			<-leave
		default:
		}
	}})
	l := newLocal(t, c, 0)
	done := make(chan unsafe.Pointer)
	go func() {
		p, _ := l.Alloc()
		done <- p
	}()
	<-inside
	for name, use := range map[string]func(){
		"Alloc": func() { _, _ = l.Alloc() },
		"Free":  func() { l.Free(nil) },
		"Flush": l.Flush,
		"Close": l.Close,
	} {
		func() {
			defer func() {
				if said := fmt.Sprint(recover()); !strings.Contains(said, "two goroutines use a Local") {
					t.Errorf("%s: %s", name, said)
				}
			}()
			use()
		}()
	}
	close(leave)
	l.Free(<-done)
}
