package app

import (
	"context"
	"io"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// DetectFiles judges recorded series by the code and the defaults of a running server; detect.Files says of which form
// they are.
func DetectFiles(ctx context.Context, in, out, model string, progress io.Writer) error {
	if err := detect.Files(ctx, in, out, detect.Model(model), progress); err != nil {
		return &core.Error{Code: core.CodeInvalid, Message: "the series cannot be judged", Hint: "see evenkeel-server detect --help for what is expected", Err: err}
	}
	return nil
}
