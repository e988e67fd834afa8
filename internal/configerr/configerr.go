// Package configerr gathers everything that is wrong with a config or with a method's arguments, so
// that a user is told all problems at once, each with the field's name and value.
//
// It imports nothing of the module; every package with a config may import it. A Problems is used
// by one goroutine. Errors of this package are values of no exported type: users compare them with
// the ErrConfig of the package whose config it is.
package configerr

import (
	"errors"
	"fmt"
)

// Problems gathers the problems of one config.
type Problems struct {
	Prefix string // comes before each field's name, such as `slub: cache "session": Config.`
	Kind   error  // wrapped by every problem, and not part of its text

	errs []error
}

// Add notes that something is wrong with a field. The rest says what, with the value, as
// fmt.Sprintf has it.
func (p *Problems) Add(field, format string, args ...any) {
	p.errs = append(p.errs, &problem{text: p.Prefix + field + ": " + fmt.Sprintf(format, args...), kind: p.Kind})
}

// Within notes a problem unless least <= n <= most.
func (p *Problems) Within(field string, n, least, most int64) {
	if n < least || n > most {
		p.Add(field, "%d is not within %d..%d", n, least, most)
	}
}

// Err returns all problems, joined by errors.Join; nil if there are none.
func (p *Problems) Err() error { return errors.Join(p.errs...) }

// New returns an error with a single problem, for a method whose arguments can have only one.
func New(prefix string, kind error, field, format string, args ...any) error {
	p := Problems{Prefix: prefix, Kind: kind}
	p.Add(field, format, args...)
	return p.errs[0]
}

type problem struct {
	text string
	kind error
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.kind }
