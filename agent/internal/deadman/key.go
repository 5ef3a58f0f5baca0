package deadman

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/evenkeel/evenkeel/remediations/pagerduty"
)

// ReadKey reads PagerDuty's routing key from a file. Its errors are sentences with the remedy. They never show what
// is in the file, nor the path when somebody gave the key in its place.
func ReadKey(path string) (pagerduty.Key, error) {
	const remedy = "put the 32-character integration key of a PagerDuty service (Events API v2) into it"
	if _, err := pagerduty.ParseKey(filepath.Base(path)); err == nil {
		return pagerduty.Key{}, errors.New("the page key file looks like the key itself: give the path of a file that holds it")
	}
	file, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return pagerduty.Key{}, fmt.Errorf("page key file %s does not exist; %s", path, remedy)
	case err != nil:
		return pagerduty.Key{}, fmt.Errorf("page key file %s cannot be read by this user; give it the right owner (mode 0600)", path)
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, 4<<10))
	if err != nil {
		return pagerduty.Key{}, fmt.Errorf("page key file %s cannot be read; %s", path, remedy)
	}
	key, err := pagerduty.ParseKey(string(raw))
	if err != nil {
		return pagerduty.Key{}, fmt.Errorf("page key file %s: %w; %s", path, err, remedy)
	}
	return key, nil
}
