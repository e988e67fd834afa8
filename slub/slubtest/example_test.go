package slubtest_test

import (
	"testing"

	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/slubtest"
)

// The first line of a test is enough. Without the last line the test fails, and names the line that
// allocated the session.
func ExampleNoLeaks() {
	var t *testing.T // the test's

	slubtest.NoLeaks(t)
	sessions, err := slub.New(nil, slub.Config{Name: "session", Size: 96})
	if err != nil {
		t.Fatal(err)
	}
	session, err := sessions.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	sessions.Free(session)
}

// Each allocation of a request fails once: the request must give back what it has got until then.
func ExampleFailAlloc() {
	var t *testing.T // the test's

	for n := 1; ; n++ {
		injector := slubtest.FailAlloc(t, slubtest.Faults{Cache: "session", Nth: n})
		sessions, err := slub.New(nil, slub.Config{Name: "session", Size: 96})
		if err != nil {
			t.Fatal(err)
		}
		if session, err := sessions.Alloc(); err == nil { // the request
			sessions.Free(session)
		}
		if err := sessions.Close(); err != nil {
			t.Errorf("with a failure of allocation %d: %v", n, err)
		}
		injector.Stop()
		if injector.Failed() == 0 {
			break // it has fewer than n
		}
	}
}
