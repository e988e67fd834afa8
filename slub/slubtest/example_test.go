package slubtest_test

import (
	"testing"

	"github.com/slubd/slubd/slub"
	"github.com/slubd/slubd/slub/slubtest"
)

// The first line of a test is enough. Without the last one the test would fail, and say which line
// has allocated the session.
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
