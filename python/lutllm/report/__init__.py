"""What people read: tables of text, pages of HTML, schedules as charts."""
