"""Looks at everything that a grid on AWS rests on, and says what is wrong and what to do. It only reads."""

from htcgrid_core.cloud.doctor.examine import examine as examine
