package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// fill writes to the disk of a replica until no more than so many bytes are free. The file it returns is what fills it.
func (c *control) fill(r *replica, left int64) string {
	c.t.Helper()
	path := filepath.Join(r.Data, "filler")
	f := must[*os.File](c.t)(os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600))
	defer f.Close()
	block := make([]byte, 64<<10)
	for {
		if must[int64](c.t)(free(r.Data)) <= left {
			return path
		}
		if _, err := f.Write(block); err != nil && !errors.Is(err, syscall.ENOSPC) {
			c.t.Fatal(err)
		}
	}
}

// diskFull: the disk of the leader fills. It withdraws and another leads; when nothing at all can be written any more the
// others go on, whatever becomes of it. With room again, and started again if it ended, it is one of three.
func (c *control) diskFull() {
	old := c.leader(time.Minute)
	filler := c.fill(old, 60<<20)
	next := c.without(old).leader(time.Minute)
	c.until(time.Minute, "the others know that its store is broken", func() error {
		out, err := get[struct {
			Members []struct {
				Name string `json:"name"`
				View struct {
					Unfit string `json:"unfit"`
				} `json:"view"`
			} `json:"members"`
		}](c.t.Context(), next.Client, "/replicas")
		for _, m := range out.Members {
			if m.Name == old.name && !strings.Contains(m.View.Unfit, "its store is broken") {
				return fmt.Errorf("%s says of itself: %q", m.Name, m.View.Unfit)
			}
		}
		return err
	})
	rest := c.without(old)
	rest.twoGoOn(next)

	c.fill(old, 0)
	rest.twoGoOn(rest.leader(time.Minute))
	lives := old.Ready(c.t.Context())
	c.t.Logf("%s with nothing left on its disk: ready to be read: %v", old.name, lives)
	if err := os.Remove(filler); err != nil {
		c.t.Fatal(err)
	}
	select {
	case <-old.process.Ended():
		c.startServer(old)
	default:
	}
	c.calm()
	c.moveThereAndBack(c.leader(time.Minute))
}

// twoGoOn: an order at the one that follows is carried out.
func (c *control) twoGoOn(leader *replica) {
	c.t.Helper()
	other := c.others(leader)[0]
	if reply, err := c.order(other, "drain", other.place); err != nil || !reply.OK {
		c.t.Fatalf("%+v, %v", reply, err)
	}
	c.moved(2*time.Minute, other.place, 0)
	c.restore(other.place)
}
