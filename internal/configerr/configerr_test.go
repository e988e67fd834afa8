package configerr

import (
	"errors"
	"testing"
)

var errKind = errors.New("bad config")

func TestAllProblemsAtOnce(t *testing.T) {
	p := Problems{Prefix: "pkg: Config.", Kind: errKind}
	if err := p.Err(); err != nil {
		t.Errorf("without a problem: %v", err)
	}
	p.Add("Size", "%d is odd", 3)
	p.Within("Least", 1, 1, 9)
	p.Within("Most", 9, 1, 9)
	p.Within("Less", 0, 1, 9)
	p.Within("More", 10, 1, 9)
	err := p.Err()
	const want = "pkg: Config.Size: 3 is odd\npkg: Config.Less: 0 is not within 1..9\npkg: Config.More: 10 is not within 1..9"
	if err.Error() != want || !errors.Is(err, errKind) {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
		if !errors.Is(one, errKind) {
			t.Errorf("%v is of no kind", one)
		}
	}
}

func TestNew(t *testing.T) {
	err := New(`pkg: thing "x": `, errKind, "SetSize", "%d is odd", 3)
	if err.Error() != `pkg: thing "x": SetSize: 3 is odd` || !errors.Is(err, errKind) {
		t.Errorf("got %v", err)
	}
}
