-- name: insert_import
-- One load of a period's files; the same content and destination is loaded once.
insert into month_end.import (import_id, period, bank, ledger, out, mail_to, key)
values (%(import_id)s, %(period)s, %(bank)s, %(ledger)s, %(out)s, %(mail_to)s, %(key)s)
on conflict (import_id) do nothing
returning import_id;

-- name: latest_import
-- The files that a period is closed with.
select * from month_end.import where period = %(period)s order by loaded_at desc, import_id limit 1;

-- name: copy_bank
-- Loads bank lines in bulk.
copy month_end.bank_line (import_id, position, line, date, amount, currency, reference, counterparty, description)
from stdin;

-- name: copy_ledger
-- Loads ledger lines in bulk.
copy month_end.ledger_line (import_id, position, line, entry_id, date, account, amount, currency, reference, description)
from stdin;

-- name: bank_lines
-- The bank statement.
select line, date, amount, currency, reference, counterparty, description
  from month_end.bank_line where import_id = %(import_id)s order by position;

-- name: ledger_lines
-- The ledger as it was loaded.
select line, entry_id, date, account, amount, currency, reference, description
  from month_end.ledger_line where import_id = %(import_id)s order by position;

-- name: post_entry
-- Posts an adjusting entry, once for each variance of a period.
insert into month_end.journal_entry (entry_id, period, variance, debit_account, credit_account, amount, currency, date,
                                     reference, memo, key, approved_by)
values (%(entry_id)s, %(period)s, %(variance)s, %(debit_account)s, %(credit_account)s, %(amount)s, %(currency)s,
        %(date)s, %(reference)s, %(memo)s, %(key)s, %(approved_by)s)
on conflict on constraint one_entry_for_a_variance do nothing
returning entry_id;

-- name: posted_entries
-- What has been posted for a period.
select * from month_end.journal_entry where period = %(period)s order by posted_at, entry_id;

-- name: latest_pack
-- The current version of the close pack.
select * from month_end.close_pack where period = %(period)s order by version desc limit 1;

-- name: insert_pack
-- A new version of the close pack.
insert into month_end.close_pack (period, version, digest, workbook, markdown, key)
values (%(period)s, %(version)s, %(digest)s, %(workbook)s, %(markdown)s, %(key)s);

-- name: mailing
-- Whether a version was sent.
select * from month_end.mailing where period = %(period)s and version = %(version)s;

-- name: insert_mailing
-- A version was sent.
insert into month_end.mailing (period, version, message_id, recipients)
values (%(period)s, %(version)s, %(message_id)s, %(recipients)s);
