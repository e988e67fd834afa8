package workload

import "testing"

// TestAboutImplementation: every implementation says what it is, and no two of them the same,
// except for allocators for C, whose names are all there is to say.
func TestAboutImplementation(t *testing.T) {
	seen := map[string]string{}
	for _, name := range append(Implementations(), Go+"1.27.4") {
		about := AboutImplementation(name)
		if other := seen[about]; about == "" || other != "" && !Native(name) {
			t.Errorf("%s and %s: %q", name, other, about)
		}
		seen[about] = name
	}
}
